"""The library's entry point, which the commands use too.

    from soma_cli.core.system import create_memory_system

    with create_memory_system() as soma:
        receipt = soma.store(text="Alice prefers window seats", namespace="travel")
        hits = soma.search("where does Alice like to sit")

A `MemorySystem` may be shared between threads. It blocks: from asyncio call it through `asyncio.to_thread`. It does
not survive `os.fork`; make one in each process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import CheckFailed, NotFound, SomaError, UsageError
from soma_cli.core.event import DELETED, UPDATED
from soma_cli.core.eventing.producer import Draft, build_event
from soma_cli.core.instants import parse_instant
from soma_cli.core.memory import MemoryState, Outcome
from soma_cli.core.operations import accesses, cached, projections, read, search, write
from soma_cli.core.ports import EventLog, IndexQuery, MemoryStore, SearchMode, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.results import HistoryEntry, Memory, Outcomes, ProduceResult, Receipt, SearchHit, WaitResult
from soma_cli.core.settings import Settings
from soma_cli.core.wiring import Adapters
from soma_cli.core.workers.observation import UNOBSERVED
from soma_cli.core.workers.vector_indexer import VectorIndexer

if TYPE_CHECKING:
    from soma_cli.core.administration import Administration

logger = logging.getLogger("soma")

Progress = Callable[[int], None]
WaitFor = Literal["kv", "vector", "all"]


def create_memory_system(
    settings: Settings | None = None, *, profile: str | None = None, **overrides: Any
) -> MemorySystem:
    """A memory system on the given settings, or on those of file and environment.

    `overrides` are settings by name, groups joined by two underscores: `data_dir="..."`, `worker__batch_size=100`.
    Raises ConfigurationError. Nothing is opened before it is used.
    """
    if settings is None:
        from soma_cli.core.settings_loader import load_settings

        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        settings = load_settings(profile=profile, overrides=dotted).settings
    elif overrides or profile:
        raise UsageError("settings and overrides were both given", hint="use dataclasses.replace on the settings")
    return MemorySystem(settings)


class MemorySystem:
    """Everything that soma does, over one set of settings. A context manager; close it when done.

    Methods raise the errors of `soma_cli.core.errors`: InputRejected for what can never be accepted,
    ServiceUnavailable where trying again helps.
    """

    def __init__(self, settings: Settings, *, one_shot: bool = False) -> None:
        """`one_shot`: for one call in a process of its own; what pays only over many calls is left out."""
        self.settings = settings
        self.adapters = Adapters(settings, one_shot=one_shot)
        self.observer = UNOBSERVED  # told what the cache knew

    def __enter__(self) -> MemorySystem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files, locks and connections. The next use opens them again."""
        self.adapters.close()

    @property
    def _log(self) -> EventLog:
        return self.adapters.log

    @property
    def _store(self) -> MemoryStore:
        return self.adapters.store

    @property
    def _index(self) -> VectorIndex:
        return self.adapters.index

    @property
    def admin(self) -> Administration:
        """What operators do: workers, replay and rebuilds, dead letters, pruning, lag, diagnosis."""
        from soma_cli.core.administration import Administration

        return Administration(self.settings, self.adapters)

    # --- writing ---

    def store(
        self,
        payload: dict[str, Any] | None = None,
        *,
        text: str | None = None,
        id: str | None = None,
        namespace: str = "default",
        importance: float | None = None,
        embedding: list[float] | None = None,
        model_revision: str | None = None,
        timestamp: str | float | None = None,
        idempotency_key: str | None = None,
        actor: str | None = None,
        if_version: int | None = None,
        wait: WaitFor | None = None,
        wait_timeout_s: float = 30.0,
    ) -> Receipt:
        """Append a `created` event; durable when this returns. `text` is short for the payload {"text": ...}."""
        draft = Draft(
            payload=_payload(payload, text),
            id=None if id is None else read.check_id(id),
            namespace=namespace,
            importance=importance,
            embedding=embedding,
            model_revision=model_revision,
            timestamp=timestamp,
            key=idempotency_key,
            actor=actor,
            if_version=if_version,
        )
        return self._append(draft, wait, wait_timeout_s, write.not_given(timestamp=timestamp))

    def update(
        self,
        id: str,
        payload: dict[str, Any] | None = None,
        *,
        text: str | None = None,
        namespace: str | None = None,
        importance: float | None = None,
        embedding: list[float] | None = None,
        model_revision: str | None = None,
        timestamp: str | float | None = None,
        idempotency_key: str | None = None,
        actor: str | None = None,
        if_version: int | None = None,
        wait: WaitFor | None = None,
        wait_timeout_s: float = 30.0,
    ) -> Receipt:
        """Append an `updated` event that replaces the payload; importance and namespace stay unless given.

        Raises NotFound where the memory is absent or deleted, CheckFailed where `if_version` is not its version.
        """
        state = self._known_state(id)
        draft = Draft(
            payload=_payload(payload, text),
            type=UPDATED,
            event_id=write.change_event_id(namespace, idempotency_key),
            id=state.id,
            namespace=state.namespace if namespace is None else namespace,
            importance=state.importance if importance is None else importance,
            embedding=embedding,
            model_revision=model_revision,
            timestamp=timestamp,
            key=idempotency_key,
            actor=actor,
            if_version=if_version,
        )
        filled_in = write.not_given(namespace=namespace, importance=importance, timestamp=timestamp)
        return self._append(draft, wait, wait_timeout_s, filled_in, changes=True)

    def delete(
        self,
        id: str,
        *,
        reason: str | dict[str, Any] | None = None,
        actor: str | None = None,
        if_version: int | None = None,
        idempotency_key: str | None = None,
        wait: WaitFor | None = None,
        wait_timeout_s: float = 30.0,
    ) -> Receipt:
        """Append a `deleted` event. Its past stays in the log and in `history`. Raises NotFound, CheckFailed."""
        state = self._known_state(id)
        draft = Draft(
            payload={},
            type=DELETED,
            event_id=write.change_event_id(None, idempotency_key),
            id=state.id,
            namespace=state.namespace,
            reason={"text": reason} if isinstance(reason, str) else reason,
            actor=actor,
            key=idempotency_key,
            if_version=if_version,
        )
        return self._append(draft, wait, wait_timeout_s, {"namespace", "timestamp"}, changes=True)

    def _append(
        self, draft: Draft, wait: WaitFor | None, wait_timeout_s: float, filled_in: set[str], *, changes: bool = False
    ) -> Receipt:
        """Append the event, unless its key was used before. `changes`: the memory must be there to be changed."""
        event = build_event(draft, self.settings.limits)
        if event.embedding is not None:
            write.check_dimension(lambda: self._index.identity(), event)
        receipt = None
        if draft.key is not None:
            self.apply_kv()
            receipt = write.earlier_receipt(self._store, event, draft.key, filled_in)
        if receipt is None:
            if changes:
                write.check_version(read.live_state(self._store, event.id), draft.if_version, event.type)
            if self._log.follows_itself:
                projections.check_log(self._log, self._store)
            receipt = write.append_one(self._log, event, draft.key, self.adapters.event_schema(event))
            if draft.key is not None and not self._log.follows_itself:
                receipt.duplicate = None  # an earlier call's event may lie where kv has not come yet
        if wait is not None or event.if_version is not None:
            receipt.outcomes = self._settled(receipt, wait or "kv", wait_timeout_s)
            counted_before = receipt.outcomes.kv == Outcome.DUPLICATE.value
            if draft.key is not None and counted_before:  # only now is it known by what: kv had not come to that
                write.earlier_receipt(self._store, event, draft.key, filled_in)
            receipt.duplicate = receipt.duplicate or counted_before
        return receipt

    def _settled(self, receipt: Receipt, what: WaitFor, timeout_s: float) -> Outcomes:
        """The outcomes of an event just appended. An error carries the receipt: the event is in the log anyway."""
        try:
            outcomes = self.wait(receipt.position, what, timeout_s).outcomes
        except SomaError as error:
            error.details["receipt"] = asdict(receipt)
            raise
        if outcomes.kv == Outcome.IGNORED.value:
            raise CheckFailed(
                f"the event at {receipt.position} was ignored: memory {receipt.id} changed meanwhile",
                hint=f"look at it again with `soma get {receipt.id}`",
                code="version_conflict",
                details={"receipt": asdict(receipt)},
            )
        return outcomes

    def produce(
        self,
        lines: Iterable[bytes],
        *,
        namespace: str | None = None,
        key: str | None = None,
        rehearse: bool = False,
        progress: Progress = lambda lines: None,
    ) -> ProduceResult:
        """Append an event for every good line of JSON: whole events, parts of one, or lines of `replay`.

        To `rehearse` is to find out which lines would be rejected, and append nothing. `progress` is told how many
        more lines are done.
        """
        from soma_cli.core.operations.lines import LineReader
        from soma_cli.core.operations.produce import BulkRun, produce

        log, store = self._log, self._store
        run = BulkRun(
            log,
            store,
            LineReader(self.settings.limits, namespace, key),
            check_schema=self.adapters.event_schema,
            epoch=lambda: projections.registered_epoch(log, store),
            apply_kv=lambda: projections.settle_kv_if_possible(self.settings, log, store),
            rehearse=rehearse,
        )
        return produce(run, lines, progress)

    # --- reading ---

    def get(self, id: str, *, at: str | None = None, fresh: bool = False) -> Memory | None:
        """The memory, or None where there is none or it is deleted; as known at a time or position with `at`."""
        try:
            return self.fetch(id, at=at, fresh=fresh)
        except NotFound:
            return None

    def fetch(self, id: str, *, at: str | None = None, fresh: bool = False) -> Memory:
        """Like `get`, but raises NotFound, which tells when, by whom and why a memory was forgotten.

        `fresh` reads past the cache, where there is one.
        """
        id = read.check_id(id)
        self.apply_kv()
        if at is not None:
            return read.memory_of(read.state_at(self._store, id, at), None)
        reader = cached.Reader(self._store, None if fresh else self.adapters.cache, self.observer.cache)
        state = read.checked_live(self._store, reader.state(id), id, hint=self._behind_hint)
        access = accesses.known(self._store, [id]).get(id)
        accesses.count(self._store, [id])
        return read.memory_of(state, access)

    def history(self, id: str) -> list[HistoryEntry]:
        """Every event of a memory with its outcome, oldest first. Raises NotFound."""
        self.apply_kv()
        epoch = projections.registered_epoch(self._log, self._store)
        return read.history(self._log, self._store, self._log.topic_id(EVENTS_TOPIC), epoch, read.check_id(id))

    def list_memories(self, *, namespace: str | None = None, since: str | None = None, limit: int = 50) -> list[Memory]:
        """Live memories, newest first; `since` is a time or a duration before now."""
        self.apply_kv()
        since_us = None if since is None else parse_instant(since)
        states = self._store.list_states(namespace=namespace, since=since_us, limit=limit)
        access = accesses.known(self._store, [state.id for state in states])
        return [read.memory_of(state, access.get(state.id)) for state in states]

    def search(
        self,
        query: str = "",
        *,
        namespace: str | None = None,
        limit: int = 10,
        mode: SearchMode | None = None,
        embedding: list[float] | None = None,
        importance_min: float | None = None,
        created_from: str | None = None,
        created_to: str | None = None,
        progress: Progress | None = None,
    ) -> list[SearchHit]:
        """Nearest memories, best first. Every hit counts as an access. `progress` is told of events indexed first."""
        if embedding is not None:
            check_embedding(embedding)
        asked = IndexQuery(
            mode=mode or "lexical",
            limit=limit,
            text=query,
            embedding=embedding,
            namespace=namespace,
            importance_min=importance_min,
            created_from=None if created_from is None else parse_instant(created_from),
            created_to=None if created_to is None else parse_instant(created_to),
        )
        self.apply_kv()
        behind = self.apply_vector(progress)
        if behind:
            logger.warning("the index is %d events behind: newest memories may be missing from this search", behind)
        planned = search.plan_query(asked, mode, self._index, self.adapters.embedder)
        hits = search.search(self._store, self._index, planned)
        accesses.count(self._store, [hit.id for hit in hits])
        return hits

    def _known_state(self, id: str) -> MemoryState:
        """The memory's state, a tombstone too. Raises NotFound."""
        id = read.check_id(id)
        self.apply_kv()
        return read.known_state(self._store.states([id]).get(id), id, hint=self._behind_hint)

    def _behind_hint(self) -> str:
        """What to do about a memory that is not there: in a cluster, kv may only not have come to it."""
        return projections.behind_hint(self._log, self._store)

    # --- projections ---

    def wait(self, position: str, what: WaitFor = "all", timeout_s: float = 30.0) -> WaitResult:
        """Wait until kv, vector or both have passed a position: what is read from then on has its event.

        Raises WaitTimedOut, EventRejected.
        """
        from soma_cli.core.operations.wait import wait

        return wait(
            self._log,
            self._store,
            self._index,
            projections.passing_kv(self.settings, self._log, self._store),
            None if what == "kv" else self.indexer(),
            Position.parse(position),
            timeout_s,
            batch_size=self.settings.worker.batch_size,
            changed=lambda id: cached.renew(self._store, self.adapters.cache, id),
        )

    def apply_kv(self, progress: Progress | None = None) -> None:
        """Bring the canonical store up to the log. Reads do this first."""
        projections.apply_kv(self.settings, self._log, self._store, progress)

    def apply_vector(self, progress: Progress | None = None) -> int:
        """Bring the index up to the log; returns how many events it is behind where another indexer is at it."""
        if not self._log.follows_itself:
            return 0
        return projections.apply_vector(self.settings, self._log, self.indexer(), progress)

    def indexer(self) -> VectorIndexer:
        """The projection into the live index."""
        return projections.vector_indexer(self.settings, self._log, self._store, self._index, self.adapters.embedder)


def _payload(payload: dict[str, Any] | None, text: str | None) -> dict[str, Any]:
    if (payload is None) == (text is None):
        raise UsageError("give either a payload or a text", hint='for example text="Alice prefers window seats"')
    return {"text": text} if payload is None else payload
