"""`memory.audit`: every record of `memory.events`, with where it lay, and reading the log from it.

`memory.events` is compacted, so nothing older than its compaction lag is read from it alone: what may have been
compacted away is read from the audit, and only the tail from the topic itself. The embedded log keeps everything, and
is read as it is.

An audit record has the source's key, value and headers, and three headers more. It lies in the partition of the same
number, so that a partition of the audit has the records of one partition of the source, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from soma_cli.core.ports import EventLog, Run
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord, Record, header_number

_OFFSET, _TOPIC_ID, _APPENDED_AT = "soma-source-offset", "soma-source-topic-id", "soma-source-appended-at"
_OURS = frozenset((_OFFSET, _TOPIC_ID, _APPENDED_AT))
_RUN_BYTES = 32 << 20
_LOOK_BACK = 64
"""Offsets before the end in which the newest record is looked for first; the markers of transactions are no records."""


class Audited(NamedTuple):
    """A record as it lay in `memory.events`, and in which incarnation of the topic."""

    topic_id: str
    record: Record


def audit_record(record: Record, topic_id: str) -> NewRecord:
    headers = (
        *(header for header in record.headers if header[0] not in _OURS),
        (_OFFSET, str(record.offset).encode()),
        (_TOPIC_ID, topic_id.encode()),
        (_APPENDED_AT, str(record.appended_at).encode()),
    )
    return NewRecord(AUDIT_TOPIC, record.key, record.value, headers, record.partition)


def source_of(record: Record) -> Audited | None:
    """What an audit record is the copy of; None where another writer made it."""
    offset, appended_at = (header_number(record.header(name)) for name in (_OFFSET, _APPENDED_AT))
    topic_id = record.header(_TOPIC_ID)
    if offset is None or appended_at is None or not topic_id:
        return None
    headers = tuple(header for header in record.headers if header[0] not in _OURS)
    source = Record(EVENTS_TOPIC, record.partition, offset, appended_at, record.key, record.value, headers)
    return Audited(topic_id.decode(errors="replace"), source)


def audit_end(log: EventLog, partition: int, topic_id: str) -> int:
    """The first offset of the events' partition that the audit does not have; 0 where it has none of this topic id."""
    if AUDIT_TOPIC not in log.topics() or partition not in (bounds := log.bounds(AUDIT_TOPIC)):
        return 0
    beginning, end = bounds[partition]
    width = _LOOK_BACK
    while True:
        start = max(beginning, end - width)
        newest = None
        for audited in _audited(log.scan(AUDIT_TOPIC, partition, start, end)):
            newest = audited
        if newest is not None:
            return newest.record.offset + 1 if newest.topic_id == topic_id else 0
        if start == beginning:
            return 0
        width *= 8


def maybe_compacted_end(log: EventLog, partition: int) -> int:
    """Events at or above this offset are all there still; 0 where nothing is ever compacted."""
    before = log.compacted_before(EVENTS_TOPIC)
    return 0 if before is None else log.offset_at(EVENTS_TOPIC, partition, before)


def runs_of(log: EventLog, partition: int, start: int, end: int, limit: int) -> Iterator[Run]:
    """All that was ever appended to the events' partition in [start, end), in runs of up to `limit` records.

    Once it is needed, the audit is read as far as it goes: what is just young enough now may be compacted away before
    so much of the audit is read. What it should have and does not is left to what compaction left of it; `audit_gap`
    tells beforehand.
    """
    if start < min(end, maybe_compacted_end(log, partition)):
        for run in _audit_runs(log, partition, start, end, limit):
            start = run.end
            yield run
    yield from _joined(log.scan(EVENTS_TOPIC, partition, start, end), partition, start, end, limit)


def audit_gap(log: EventLog, before: int, passed: Mapping[int, int] | None = None) -> dict[int, int]:
    """By partition, how many offsets of events older than the instant the audit does not have.

    `passed` are the offsets that the audit's own group has committed: they tell the markers of foreign transactions,
    which take offsets and are no events, from what was compacted away.
    """
    topic_id = log.topic_id(EVENTS_TOPIC)
    gaps = {}
    for partition, bounds in log.bounds(EVENTS_TOPIC).items():
        old = log.offset_at(EVENTS_TOPIC, partition, before)
        end = audit_end(log, partition, topic_id)
        if end and passed:  # an audit without any record was perhaps made anew since its group committed
            end = max(end, passed.get(partition, 0))
        if _lacks(log, partition, end, old, bounds.end):
            gaps[partition] = old - end
    return gaps


def unaudited(log: EventLog, partition: int, start: int, end: int) -> tuple[int, int] | None:
    """The part of [start, end), which compaction has reached, that the audit does not have; None where it has all."""
    start = max(start, audit_end(log, partition, log.topic_id(EVENTS_TOPIC)))
    held = log.bounds(EVENTS_TOPIC)[partition].end
    return (start, end) if _lacks(log, partition, start, end, held) else None


def _lacks(log: EventLog, partition: int, start: int, old: int, end: int) -> bool:
    """Whether there were events in [start, old). Where compaction took them all, later ones of their keys are left,
    below `end`, the partition's; where there are none, either, the offsets are markers of transactions."""
    return start < old and next(log.scan(EVENTS_TOPIC, partition, start, end), None) is not None


def _audit_runs(log: EventLog, partition: int, start: int, end: int, limit: int) -> Iterator[Run]:
    topic_id = log.topic_id(EVENTS_TOPIC)
    end = min(end, audit_end(log, partition, topic_id))
    if start >= end:
        return
    first = _first_audited(log, partition, topic_id, start)
    records = _sources(log.scan(AUDIT_TOPIC, partition, first, log.bounds(AUDIT_TOPIC)[partition].end), topic_id)
    yield from _joined(_within(records, start, end), partition, start, end, limit)


def _joined(records: Iterable[Record], partition: int, start: int, end: int, limit: int) -> Iterator[Run]:
    """Runs that cover [start, end) without a gap between them. Of large records there are fewer in one: a statement
    that writes a run must not grow beyond what a server takes."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if len(batch) >= limit or size >= _RUN_BYTES:
            yield Run(partition, start, batch[-1].offset + 1, batch)
            start, batch, size = batch[-1].offset + 1, [], 0
        batch.append(record)
        size += len(record.value or b"")
    if start < end:
        yield Run(partition, start, end, batch)


def _within(records: Iterable[Record], start: int, end: int) -> Iterator[Record]:
    """Each source position once: an audit worker that lost its offset may have copied some again."""
    at = start
    for record in records:
        if record.offset >= end:
            return
        if record.offset >= at:
            at = record.offset + 1
            yield record


def _sources(records: Iterable[Record], topic_id: str) -> Iterator[Record]:
    return (audited.record for audited in _audited(records) if audited.topic_id == topic_id)


def _audited(records: Iterable[Record]) -> Iterator[Audited]:
    return (audited for record in records if (audited := source_of(record)) is not None)


def _first_audited(log: EventLog, partition: int, topic_id: str, start: int) -> int:
    """By bisection: where in the audit's partition the events of this topic id from `start` on begin."""
    low, high = log.bounds(AUDIT_TOPIC)[partition]
    end = high
    while low < high:
        middle = (low + high) // 2
        audited = next(_audited(log.scan(AUDIT_TOPIC, partition, middle, end)), None)
        if audited is not None and (audited.topic_id != topic_id or audited.record.offset < start):
            low = middle + 1
        else:
            high = middle
    return low
