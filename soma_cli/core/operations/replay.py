"""Reading the log back: every event of a range, as it was appended."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from soma_cli.core.errors import InputRejected, UsageError
from soma_cli.core.event import decode_event, epoch_of, offset_of, version_of
from soma_cli.core.eventing.audit import maybe_compacted_end, runs_of
from soma_cli.core.instants import format_instant, parse_instant
from soma_cli.core.memory import Outcome
from soma_cli.core.operations.offsets import resolve_offset
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.serialization import deserialize

_RUN = 1000
"""Records of one look at the audit."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to replay; None leaves a bound open. Times are append times, both inclusive; `stored` is kv's position."""

    from_offset: str | None = None
    from_time: str | None = None
    to_time: str | None = None
    id: str | None = None
    namespace: str | None = None
    type: str | None = None
    limit: int | None = None


def select(log: EventLog, selection: Selection, stored: dict[int, int]) -> Iterator[Record]:
    """The records of the selection in log order, streamed; those that compaction may have taken, from the audit.

    Raises UsageError for a bound that can't be.
    """
    since = None if selection.from_time is None else parse_instant(selection.from_time)
    until = None if selection.to_time is None else parse_instant(selection.to_time)
    if since is not None and until is not None and until < since:
        raise UsageError("--to lies before --from", hint="swap them")
    ranges = []
    for partition, bounds in log.bounds(EVENTS_TOPIC).items():
        start, end = bounds
        if selection.from_offset is not None:
            start = resolve_offset(selection.from_offset, bounds, stored.get(partition, 0))
        if since is not None:
            start = max(start, _first_at(log, partition, since))
        if until is not None:
            end = min(end, log.offset_at(EVENTS_TOPIC, partition, until + 1))
        ranges.append((partition, start, end))
    selected = _selected(log, selection, ranges)
    if until is not None:  # the first offset after it may lie behind others that compaction took
        selected = (record for record in selected if record.appended_at <= until)
    if since is not None:
        selected = (record for record in selected if record.appended_at >= since)
    return _limited(selected, selection.limit)


def _first_at(log: EventLog, partition: int, instant: int) -> int:
    """An offset at or before the first record appended at the instant: what is compacted tells no times."""
    before = log.compacted_before(EVENTS_TOPIC)
    return 0 if before is not None and instant < before else log.offset_at(EVENTS_TOPIC, partition, instant)


def _selected(log: EventLog, selection: Selection, ranges: list[tuple[int, int, int]]) -> Iterator[Record]:
    key = None if selection.id is None else selection.id.encode()
    for partition, start, end in ranges:
        for record in _appended(log, partition, start, end, key):
            if _matches(record, selection):
                yield record


def _appended(log: EventLog, partition: int, start: int, end: int, key: bytes | None) -> Iterator[Record]:
    """All that was ever appended to the range: the topic itself, but for what may have been compacted away."""
    if start >= min(end, maybe_compacted_end(log, partition)):
        yield from log.scan(EVENTS_TOPIC, partition, start, end, key)
        return
    for run in runs_of(log, partition, start, end, _RUN):
        yield from (record for record in run.records if key is None or record.key == key)


def _matches(record: Record, selection: Selection) -> bool:
    if selection.namespace is None and selection.type is None:
        return True
    event = _document(record.value)
    if event is None:
        return False
    return (selection.namespace is None or event.get("namespace") == selection.namespace) and (
        selection.type is None or event.get("type") == selection.type
    )


def _document(value: bytes | None) -> dict[str, Any] | None:
    """The record's JSON object; None where it is none."""
    try:
        document = None if value is None else deserialize(value)
    except InputRejected:
        return None
    return document if isinstance(document, dict) else None


def _limited(records: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(records, start=1):
        yield record
        if number == limit:
            return


class AwaitedEvents:
    """Names the events that replayed ones wait for: a version says something in one log only, an event_id in all."""

    def __init__(self, log: EventLog, store: MemoryStore, epoch: int, apply_kv: Callable[[], None]) -> None:
        self._log = log
        self._store = store
        self._topics = {epoch: topic_id for topic_id, epoch in store.epochs(EVENTS_TOPIC).items()}
        self._epoch = epoch
        self._apply_kv = apply_kv
        self._journal_is_current = False

    def event_id(self, record: Record, id: object, if_version: int) -> str | None:
        """The event that made this version of the record's memory before the record was appended; None if none did."""
        topic_id = self._topics.get(epoch_of(if_version))
        if topic_id is None or if_version >= version_of(self._epoch, record.offset):
            return None
        position = Position(EVENTS_TOPIC, record.partition, offset_of(if_version))
        entry = self._journal(topic_id, position)
        if entry is None:
            return self._in_log(position, id) if epoch_of(if_version) == self._epoch else None
        return entry.event_id if entry.id == id and entry.outcome is Outcome.APPLIED else None

    def _journal(self, topic_id: str, position: Position) -> JournalEntry | None:
        entry = self._store.journal_at(topic_id, [position]).get(position)
        if entry is None and not self._journal_is_current:
            self._apply_kv()
            self._journal_is_current = True
            entry = self._store.journal_at(topic_id, [position]).get(position)
        return entry

    def _in_log(self, position: Position, id: object) -> str | None:
        """Where bad records have stopped kv before that position."""
        for record in self._log.scan(EVENTS_TOPIC, position.partition, position.offset, position.offset + 1):
            try:
                event = decode_event(record)
            except InputRejected:
                return None
            return event.event_id if event.id == id else None
        return None


def replay_line(record: Record, epoch: int, awaited: AwaitedEvents) -> dict[str, Any]:
    """The documented shape of a replayed record. The event's bytes go through as they are; where they are no JSON,
    `event` is null and `value_base64` holds them. An event with an `if_version` has `if_event_id` beside it."""
    line: dict[str, Any] = {
        "position": str(record.position),
        "appended_at": format_instant(record.appended_at),
        "version": version_of(epoch, record.offset),
    }
    document = _document(record.value)
    if document is None or record.value is None:
        raw = None if record.value is None else base64.b64encode(record.value).decode()
        return {**line, "event": None, "value_base64": raw}
    if_version = document.get("if_version")
    if type(if_version) is int and if_version >= 0:
        line["if_event_id"] = awaited.event_id(record, document.get("id"), if_version)
    # A line must stay one line: a foreign writer's JSON may be spread over several.
    line["event"] = document if b"\n" in record.value or b"\r" in record.value else orjson.Fragment(record.value)
    return line
