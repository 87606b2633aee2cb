"""The projections of one system: made once, brought up to date where readers do that themselves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from soma_cli.core.errors import ServiceUnavailable, TooManyRejects, UsageError
from soma_cli.core.ports import Embedder, EventLog, IndexShadow, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.workers.catch_up import catch_up, check_same_log, ends_of
from soma_cli.core.workers.kv_writer import KV, KvWriter
from soma_cli.core.workers.vector_indexer import VECTOR, VectorIndexer

logger = logging.getLogger("soma")

SEARCH_PATIENCE_S = 0.25
"""How long a search helps a busy indexer along before it looks at what is there."""

PROJECTIONS = (KV, VECTOR)


def group_name(settings: Settings, projection: str) -> str:
    """The consumer group of a projection's workers."""
    return f"{settings.log.group_prefix}-{projection}"


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


def kv_writer(settings: Settings, log: EventLog, store: MemoryStore, max_rejects: int | None = None) -> KvWriter:
    """Raises LogReplaced, LogBehind."""
    check_log(log, store)
    limit = settings.worker.max_rejects_in_a_row if max_rejects is None else max_rejects
    topic_id = log.topic_id(EVENTS_TOPIC)
    return KvWriter(log, store, topic_id, max_rejects_in_a_row=limit, rejects_before=store.trailing_rejects)


def vector_indexer(
    settings: Settings,
    log: EventLog,
    store: MemoryStore,
    index: VectorIndex | IndexShadow,
    embedder: Embedder | None,
    *,
    max_rejects: int | None = None,
    bury: bool = True,
) -> VectorIndexer:
    """The embedded store's readers apply what the log holds, so here the indexer does not wait for kv: it helps.

    With `bury` off, for a rebuild, bad vectors don't stop it either: the live index has stopped, or been let on.
    """
    kv = kv_writer(settings, log, store)
    limit = settings.worker.max_rejects_in_a_row if max_rejects is None else max_rejects

    def follow(partition: int, end: int) -> None:
        catch_up(log, kv, {partition: end}, batch_size=settings.worker.batch_size)

    return VectorIndexer(
        log,
        store,
        index,
        log.topic_id(EVENTS_TOPIC),
        follow=follow,
        embedder=embedder,
        text_pointers=settings.index.text_pointers,
        max_rejects_in_a_row=limit if bury else 0,
        bury=bury,
    )


def apply_kv(
    settings: Settings, log: EventLog, store: MemoryStore, progress: Callable[[int], None] | None = None
) -> None:
    """Bring the canonical store to the end that the log has now, for a reader.

    Where too many bad records in a row stop it, what is there is read all the same, with a warning.
    """
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


def apply_vector(
    settings: Settings, log: EventLog, indexer: VectorIndexer, progress: Callable[[int], None] | None = None
) -> int:
    """Bring the index to the log's end, and return how many records it is behind still.

    With an indexer at work elsewhere it helps for a moment only and leaves it the rest; without one it does all. An
    embedder that is away, or kv stopped by bad records, leaves the rest undone, with a warning.
    """
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
