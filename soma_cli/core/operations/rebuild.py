"""Making a projection anew from the log: into a shadow, compared with what is live, swapped in one atomic step.

Live workers go on meanwhile. Killed at any point, a rebuild leaves nothing that a reader sees, and the next one cleans
up after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from soma_cli.core.errors import ConfigurationError, DataFolderError, LogBehind, TooManyRejects
from soma_cli.core.eventing.audit import audit_end, audit_gap
from soma_cli.core.instants import MICROSECONDS, now_us
from soma_cli.core.operations.lag import committed_offsets
from soma_cli.core.operations.projections import group_name, kv_writer, vector_indexer
from soma_cli.core.ports import Difference, Embedder, EventLog, IndexIdentity, MemoryStore, VectorIndex
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC
from soma_cli.core.results import Rebuild
from soma_cli.core.settings import Settings
from soma_cli.core.workers.catch_up import catch_up, ends_of
from soma_cli.core.workers.kv_writer import KvWriter
from soma_cli.core.workers.names import AUDIT, KV, VECTOR

logger = logging.getLogger("soma")

_BATCH = 2000
AUDIT_PATIENCE_S = 60.0
"""Events younger than this need not be in the audit yet, unless they may be compacted away before."""

Progress = Callable[[int], None]
Decide = Callable[[Rebuild], bool]
"""Shown the comparison; True swaps."""


def rebuild_kv(settings: Settings, log: EventLog, store: MemoryStore, decide: Decide, progress: Progress) -> Rebuild:
    """Fold the whole log into a shadow of the canonical tables. Access statistics stay as they are."""
    began = time.monotonic()
    if log.follows_itself:
        # A log that lost events, or bad records that stop kv: the live tables may be behind; compared as they are.
        with suppress(LogBehind, TooManyRejects):
            catch_up(log, kv_writer(settings, log, store), ends_of(log), batch_size=_BATCH)
    _warn_of_audit(settings, log)
    topic_id = log.topic_id(EVENTS_TOPIC)
    shadow = store.shadow(topic_id)
    writer = KvWriter(log, shadow, topic_id, bury=False)

    def follow(positions: dict[int, int]) -> None:
        ends = {partition: min(positions.get(partition, 0), end) for partition, end in ends_of(log).items()}
        catch_up(log, writer, ends, batch_size=_BATCH, progress=progress)

    try:
        follow(store.positions(topic_id))
        result = _result(KV, shadow.compare(follow), shadow.positions(topic_id), began)
        if decide(result):
            follow(store.positions(topic_id))  # what came in during the question, before the swap holds writers up
            shadow.swap(follow)
            result.executed = True
    finally:
        shadow.discard()
    result.elapsed_s = round(time.monotonic() - began, 3)
    return result


def rebuild_vector(
    settings: Settings,
    log: EventLog,
    store: MemoryStore,
    index: VectorIndex,
    embedder: Embedder | None,
    identity: IndexIdentity,
    decide: Decide,
    progress: Progress,
) -> Rebuild:
    """Index every live memory into a new collection of the given identity."""
    began = time.monotonic()
    _warn_of_audit(settings, log)
    _refresh(settings, log, store, index, embedder)
    shadow = index.shadow(identity)
    indexer = vector_indexer(settings, log, store, shadow, embedder, bury=False)

    def partition_of(ids: Sequence[str]) -> list[int]:
        return log.partitions_of(EVENTS_TOPIC, [id.encode() for id in ids])

    def follow() -> None:
        """As far as kv has come: a rebuild does not wait for what is appended meanwhile."""
        passed = store.positions(log.topic_id(EVENTS_TOPIC))
        ends = ends_of(log) if log.follows_itself else passed
        catch_up(log, indexer, ends, batch_size=_BATCH, progress=progress)

    try:
        follow()
        topic_id = log.topic_id(EVENTS_TOPIC)
        result = _result(VECTOR, shadow.compare(partition_of), shadow.positions(topic_id), began)
        if decide(result):
            shadow.swap(follow)
            result.executed = True
    finally:
        shadow.discard()
    result.elapsed_s = round(time.monotonic() - began, 3)
    return result


def _warn_of_audit(settings: Settings, log: EventLog) -> None:
    """A rebuild that reads what compaction left, because the audit lacks it, may lack states and history."""
    compacted = log.compacted_before(EVENTS_TOPIC)
    if compacted is None:
        return
    passed: dict[int, int] = {}
    with suppress(ConfigurationError):  # a user that rebuilds need not be allowed to look at the audit's group
        passed = committed_offsets(log, group_name(settings, AUDIT))
    gaps = audit_gap(log, max(compacted, now_us() - int(AUDIT_PATIENCE_S * MICROSECONDS)), passed)
    if not gaps:
        return
    topic_id = log.topic_id(EVENTS_TOPIC)
    empty = all(audit_end(log, partition, topic_id) == 0 for partition in log.bounds(EVENTS_TOPIC))
    logger.warning(
        "%s is %s: it lacks %s older events, and what was compacted away of them cannot be rebuilt; run "
        "`soma consume audit`",
        AUDIT_TOPIC,
        "empty" if empty else "behind",
        f"{sum(gaps.values()):,}",
    )


def _refresh(
    settings: Settings, log: EventLog, store: MemoryStore, index: VectorIndex, embedder: Embedder | None
) -> None:
    """Compare with an index that is up to date, where the live one can be brought there at all."""
    if not log.follows_itself:
        return
    try:
        live = vector_indexer(settings, log, store, index, embedder)
        catch_up(log, live, ends_of(log), batch_size=settings.worker.batch_size)
    except (ConfigurationError, TooManyRejects):
        pass  # corrupt, of another model, ahead of a log that lost events, stopped: that is what the rebuild is for


def rebuild_identity(settled: IndexIdentity, index: VectorIndex) -> IndexIdentity:
    """What the new collection is to hold: what settings say, else what the live one holds."""
    if settled.dimension is not None or settled.model_revision is not None:
        return settled
    try:
        return index.identity()
    except DataFolderError:
        return settled


def _result(into: str, found: Difference, positions: dict[int, int], began: float) -> Rebuild:
    differences = {
        "missing": found.missing,
        "extra": found.extra,
        "different": found.different,
        "journal": found.journal,
    }
    last = {f"{EVENTS_TOPIC}/{partition}": offset - 1 for partition, offset in positions.items() if offset}
    events = sum(positions.values())
    elapsed = time.monotonic() - began
    return Rebuild(into, events, found.compared, differences, found.examples, False, last, elapsed)
