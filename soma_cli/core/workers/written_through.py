"""New canonical rows into the cache, while kv goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from soma_cli.core.errors import SomaError
from soma_cli.core.memory import MemoryState, Outcome
from soma_cli.core.ports import Applied, Cache, EntryRun, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position

logger = logging.getLogger("soma")

_BATCHES = 2
"""Before a partition's first batch, whose states are put again, because whoever had it may have died between the commit
and the cache: with one batch on its way there, and the next one committed."""


class WrittenThrough:
    """Every new state to the cache, once it is durable; a cache that is away costs nothing but its hits.

    One batch is put while the next one is applied: to wait for the cache took a third of kv's time. No more than one is
    ever on its way, so a cache that is slow slows kv down rather than falling behind. Used by one thread.
    """

    def __init__(self, store: MemoryStore, cache: Cache, topic_id: str, batch_size: int) -> None:
        self._store = store
        self._cache = cache
        self._topic_id = topic_id
        self._look_back = _BATCHES * batch_size
        self._passed: dict[int, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writes through")
        self._pending: Future[None] | None = None

    def __call__(self, applied: Applied, runs: Sequence[EntryRun]) -> None:
        states = self._states(applied, runs)
        self.wait()
        if states:
            self._pending = self._thread.submit(self._put, states)

    def wait(self) -> None:
        """Until what was handed over is in the cache, or was given up."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _put(self, states: list[MemoryState]) -> None:
        try:
            self._cache.put(states)
        except SomaError as error:
            logger.debug("new states were not cached: %s", error.message)

    def _states(self, applied: Applied, runs: Sequence[EntryRun]) -> list[MemoryState]:
        decided = (item.state for item in applied.decisions if item.outcome is Outcome.APPLIED)
        newest = {state.id: state for state in decided if state is not None}
        if again := self._of_others(runs) | (self._redelivered(runs) if applied.redelivered else set()):
            newest = self._store.states(again | newest.keys())
        return list(newest.values())

    def _redelivered(self, runs: Sequence[EntryRun]) -> set[str]:
        return {entry.event.id for run in runs for entry in run.entries if entry.event is not None}

    def _of_others(self, runs: Sequence[EntryRun]) -> set[str]:
        """The memories of the last batches before a run that does not go on where this process was."""
        ids: set[str] = set()
        for run in runs:
            if self._passed.get(run.partition) != run.start:
                offsets = range(max(0, run.start - self._look_back), run.start)
                positions = [Position(EVENTS_TOPIC, run.partition, offset) for offset in offsets]
                journal = self._store.journal_at(self._topic_id, positions).values() if positions else ()
                ids |= {entry.id for entry in journal if entry.id is not None}
            self._passed[run.partition] = run.end
        return ids
