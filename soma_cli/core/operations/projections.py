"""The projections of one system: made once; brought up to date by readers themselves where the log is embedded, and
waited for where workers do that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import cast
from weakref import WeakKeyDictionary

from soma_cli.core.errors import ServiceUnavailable, SomaError, TooManyRejects, UsageError, WaitTimedOut
from soma_cli.core.ports import Embedder, EventLog, IndexShadow, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.workers.catch_up import catch_up, check_same_log, ends_of
from soma_cli.core.workers.kv_writer import KvWriter, WriteThrough
from soma_cli.core.workers.names import AUDIT, KV, LATEST, VECTOR
from soma_cli.core.workers.projection import Behind
from soma_cli.core.workers.vector_indexer import FollowKv, VectorIndexer

logger = logging.getLogger("soma")

SEARCH_PATIENCE_S = 0.25
"""How long a search helps a busy indexer along before it looks at what is there."""
SETTLE_S = 30.0
"""How long a command waits for the kv worker to pass what it must see."""
_LOOK_EVERY_S = 0.02

PROJECTIONS = (KV, VECTOR)
COPIES = (AUDIT, LATEST)
"""What only a log that is compacted has: topics that workers derive from it."""


def group_name(settings: Settings, projection: str) -> str:
    """The consumer group of a projection's workers. Installations with topics of their own have groups of their own."""
    return f"{settings.log.topic_prefix}{settings.log.group_prefix}-{projection}"


def registered_epoch(log: EventLog, store: MemoryStore, *, new_epoch: bool = False) -> int:
    """The log's epoch in this store; raises LogReplaced where the store was made from another log."""
    return store.register_topic(EVENTS_TOPIC, log.topic_id(EVENTS_TOPIC), new_epoch=new_epoch)


_same_log: WeakKeyDictionary[MemoryStore, str] = WeakKeyDictionary()
"""Topic id by opened store, where the log was found to be the one that the store was made from."""


def check_log(log: EventLog, store: MemoryStore) -> None:
    """Raises LogReplaced or LogBehind where the log is not the one that the store was made from.

    Looked at once for each opened store: a log is put back while nobody has it open.
    """
    topic_id = log.topic_id(EVENTS_TOPIC)
    if _same_log.get(store) != topic_id:
        registered_epoch(log, store)
        check_same_log(log, store)
        _same_log[store] = topic_id


def kv_writer(
    settings: Settings,
    log: EventLog,
    store: MemoryStore,
    max_rejects: int | None = None,
    written_through: WriteThrough | None = None,
) -> KvWriter:
    """Raises LogReplaced, LogBehind."""
    check_log(log, store)
    limit = settings.worker.max_rejects_in_a_row if max_rejects is None else max_rejects
    topic_id = log.topic_id(EVENTS_TOPIC)
    return KvWriter(
        log,
        store,
        topic_id,
        max_rejects_in_a_row=limit,
        rejects_before=lambda partition, most: store.trailing_rejects(topic_id, partition, most),
        written_through=written_through,
    )


def passing_kv(settings: Settings, log: EventLog, store: MemoryStore) -> KvWriter:
    """kv to wait for. Where workers apply, they also look whether the log is the right one."""
    if log.follows_itself:
        return kv_writer(settings, log, store)
    return KvWriter(log, store, log.topic_id(EVENTS_TOPIC))


def vector_indexer(
    settings: Settings,
    log: EventLog,
    store: MemoryStore,
    index: VectorIndex | IndexShadow,
    embedder: Embedder | None,
    *,
    max_rejects: int | None = None,
    bury: bool = True,
    alive: Callable[[], None] = lambda: None,
) -> VectorIndexer:
    """With `bury` off, for a rebuild, bad vectors don't stop it either: the live index has stopped, or been let on."""
    limit = settings.worker.max_rejects_in_a_row if max_rejects is None else max_rejects
    return VectorIndexer(
        log,
        store,
        index,
        log.topic_id(EVENTS_TOPIC),
        epoch=registered_epoch(log, store),
        follow=follow_kv(settings, log, store),
        embedder=embedder,
        text_pointers=settings.index.text_pointers,
        max_rejects_in_a_row=limit if bury else 0,
        bury=bury,
        asks=cast(VectorIndex, index).versions if bury and settings.embedder.via == "topics" else None,
        alive=alive,
    )


def follow_kv(settings: Settings, log: EventLog, store: MemoryStore) -> FollowKv:
    """How the other projections follow kv. Where readers apply what the log holds, so do these; else they wait."""
    if not log.follows_itself:
        return lambda ends: check_passed_by_kv(store, log.topic_id(EVENTS_TOPIC), ends)
    kv = kv_writer(settings, log, store)

    def follow(ends: Mapping[int, int]) -> None:
        catch_up(log, kv, ends, batch_size=settings.worker.batch_size)

    return follow


def check_passed_by_kv(store: MemoryStore, topic_id: str, ends: Mapping[int, int]) -> None:
    """Raises Behind where kv has not passed these ends."""
    passed = store.positions(topic_id)
    behind = [(partition, end) for partition, end in ends.items() if passed.get(partition, 0) < end]
    if behind:
        partition, end = behind[0]
        raise Behind(
            f"kv is at {EVENTS_TOPIC}/{partition}@{passed.get(partition, 0)} and has yet to pass offset {end - 1}; "
            "is `soma consume kv` running?"
        )


def events_behind(log: EventLog, store: MemoryStore) -> int:
    """Offsets that kv has yet to pass, in all partitions."""
    passed = store.positions(log.topic_id(EVENTS_TOPIC))
    return sum(max(0, end - passed.get(partition, 0)) for partition, end in ends_of(log).items())


def behind_hint(log: EventLog, store: MemoryStore) -> str:
    """What to do about a memory that the store does not have; empty where that settles it."""
    if log.follows_itself:
        return ""
    try:
        waiting = events_behind(log, store)
    except SomaError as error:  # the store has answered already: what it says stands
        return f"whether kv has events to pass yet is not known: {error.message}"
    return f"kv has {waiting:,} events to pass yet: try again, or store with --wait kv" if waiting else ""


def apply_kv(
    settings: Settings, log: EventLog, store: MemoryStore, progress: Callable[[int], None] | None = None
) -> None:
    """For a reader: bring the embedded store to the end that the log has now. In a cluster that is the workers' task.

    Where too many bad records in a row stop it, what is there is read all the same, with a warning.
    """
    if not log.follows_itself:
        return
    try:
        catch_up_kv(settings, log, store, progress)
    except TooManyRejects as storm:
        logger.warning("what follows is not up to date: %s; %s", storm.message, storm.hint)


def catch_up_kv(
    settings: Settings, log: EventLog, store: MemoryStore, progress: Callable[[int], None] | None = None
) -> None:
    """Bring the canonical store to the end that the log has now. Raises TooManyRejects, LogBehind, LogReplaced."""
    kv = kv_writer(settings, log, store)
    catch_up(log, kv, ends_of(log), batch_size=settings.worker.batch_size, progress=progress)


def settle_kv(settings: Settings, log: EventLog, store: MemoryStore, timeout_s: float = SETTLE_S) -> None:
    """kv has passed the end that the log has now: embedded by applying it, in a cluster by waiting for the worker.

    Raises WaitTimedOut, and what `catch_up_kv` raises.
    """
    if log.follows_itself:
        catch_up_kv(settings, log, store)
        return None
    ends, topic_id = ends_of(log), log.topic_id(EVENTS_TOPIC)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return check_passed_by_kv(store, topic_id, ends)
        except Behind as behind:
            if time.monotonic() >= deadline:
                raise WaitTimedOut(
                    f"after {timeout_s:g} s, {behind.message}", hint="see `soma lag`, then try again", code="kv_behind"
                ) from behind
        time.sleep(_LOOK_EVERY_S)


def settle_kv_if_possible(settings: Settings, log: EventLog, store: MemoryStore) -> None:
    """The same for what does not depend on it: where kv stays behind, a warning."""
    try:
        settle_kv(settings, log, store)
    except (WaitTimedOut, TooManyRejects) as error:
        logger.warning("what follows is not up to date: %s", error.message)


def apply_vector(
    settings: Settings, log: EventLog, indexer: VectorIndexer, progress: Callable[[int], None] | None = None
) -> int:
    """For a search: bring the index to the log's end, and return how many records it is behind still. In a cluster that
    is the workers' task.

    With an indexer at work elsewhere it helps for a moment only and leaves it the rest; without one it does all. An
    embedder that is away, or kv stopped by bad records, leaves the rest undone, with a warning.
    """
    if not log.follows_itself:
        return 0
    try:
        return _apply_vector(settings, log, indexer, progress)
    except (ServiceUnavailable, TooManyRejects) as error:
        logger.warning("the index is not up to date: %s", error.message)
        return _behind(indexer, ends_of(log))


def _apply_vector(
    settings: Settings, log: EventLog, indexer: VectorIndexer, progress: Callable[[int], None] | None
) -> int:
    ends = ends_of(log)
    busy = log.members(group_name(settings, VECTOR)) > 0
    if busy and _followed(indexer, ends, settings.worker.poll_interval_s):
        return _behind(indexer, ends)
    deadline = time.monotonic() + SEARCH_PATIENCE_S if busy else None
    if catch_up(log, indexer, ends, batch_size=settings.worker.batch_size, deadline=deadline, progress=progress):
        return 0
    return _behind(indexer, ends)


def _behind(indexer: VectorIndexer, ends: Mapping[int, int]) -> int:
    positions = indexer.positions()
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())


def _followed(indexer: VectorIndexer, ends: Mapping[int, int], poll_s: float) -> bool:
    """Whether the indexer at work elsewhere came to the ends, or at least came further, within the patience.

    Looking is cheap; helping would take the index from it, and from all who search.
    """
    deadline = time.monotonic() + SEARCH_PATIENCE_S
    first = left = _behind(indexer, ends)
    while left and time.monotonic() < deadline:
        time.sleep(min(poll_s, 0.01))
        left = _behind(indexer, ends)
    return left == 0 or left < first


def check_projection(name: str) -> str:
    if name not in PROJECTIONS:
        raise UsageError(f"{name!r} is not a projection", hint=f"the projections are: {', '.join(PROJECTIONS)}")
    return name
