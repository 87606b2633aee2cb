"""latest: the canonical row of every memory into the compacted topic `memory.latest`, null after a delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soma_cli.core.event import is_canonical_uuid
from soma_cli.core.instants import format_instant
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import EventLog, MemoryStore, Run
from soma_cli.core.record import EVENTS_TOPIC, LATEST_TOPIC, NewRecord
from soma_cli.core.serialization import serialize
from soma_cli.core.workers.copying import CopySource
from soma_cli.core.workers.names import LATEST
from soma_cli.core.workers.projection import Tally, ends_of_runs
from soma_cli.core.workers.vector_indexer import FollowKv


class LatestPublisher:
    """Publishes the rows of the ids in its runs, as they are once kv has passed these.

    It reads the rows anew each time, so that a repetition does no harm.
    """

    name = LATEST

    def __init__(self, log: EventLog, store: MemoryStore, source: CopySource, follow: FollowKv) -> None:
        self._log = log
        self._store = store
        self._source = source
        self._follow = follow

    def positions(self) -> dict[int, int]:
        return self._source.positions()

    def process(self, runs: Sequence[Run]) -> Tally:
        self._follow(ends_of_runs(runs))
        rows = self._source.publish(runs, self._rows)
        read = sum(len(run.records) for run in runs)
        return Tally(read=read, applied=rows, ignored=read - rows)

    def _rows(self, runs: Sequence[Run]) -> list[NewRecord]:
        partitions = self._partitions(runs)
        return [_row(state, partitions[state.id]) for state in self._store.states(partitions).values()]

    def _partitions(self, runs: Sequence[Run]) -> dict[str, int]:
        """The ids that the runs are about, by the partition they belong in; not those that lie in another's."""
        keys = [(record.key or b"", run.partition) for run in runs for record in run.records]
        right = self._log.partitions_of(EVENTS_TOPIC, [key for key, _ in keys])
        return {
            id: partition
            for (key, partition), where in zip(keys, right, strict=True)
            if partition == where and is_canonical_uuid(id := key.decode("ascii", errors="replace"))
        }


def _row(state: MemoryState, partition: int) -> NewRecord:
    value = None if state.deleted else serialize(latest_row(state))
    return NewRecord(LATEST_TOPIC, state.id.encode(), value, partition=partition)


def latest_row(state: MemoryState) -> dict[str, Any]:
    """What `soma get` shows of a memory, without its access statistics."""
    return {
        "id": state.id,
        "namespace": state.namespace,
        "payload": state.payload,
        "importance": state.importance,
        "created_at": format_instant(state.created_at),
        "updated_at": format_instant(state.updated_at),
        "version": state.version,
        "last_event_id": state.last_event_id,
        "model_revision": state.model_revision,
    }
