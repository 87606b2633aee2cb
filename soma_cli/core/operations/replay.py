"""Reading the log back: every event of a range, as it was appended."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from soma_cli.core.errors import InputRejected, UsageError
from soma_cli.core.event import version_of
from soma_cli.core.instants import format_instant, parse_instant
from soma_cli.core.operations.offsets import resolve_offset
from soma_cli.core.ports import EventLog
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.serialization import deserialize


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
    """The records of the selection in log order, streamed. Raises UsageError for a bound that can't be."""
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
            start = max(start, log.offset_at(EVENTS_TOPIC, partition, since))
        if until is not None:
            end = min(end, log.offset_at(EVENTS_TOPIC, partition, until + 1))
        ranges.append((partition, start, end))
    return _limited(_selected(log, selection, ranges), selection.limit)


def _selected(log: EventLog, selection: Selection, ranges: list[tuple[int, int, int]]) -> Iterator[Record]:
    key = None if selection.id is None else selection.id.encode()
    for partition, start, end in ranges:
        for record in log.scan(EVENTS_TOPIC, partition, start, end, key):
            if _matches(record, selection):
                yield record


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


def replay_line(record: Record, epoch: int) -> dict[str, Any]:
    """The documented shape of a replayed record. The event's bytes go through as they are; where they are no JSON,
    `event` is null and `value_base64` holds them."""
    line: dict[str, Any] = {
        "position": str(record.position),
        "appended_at": format_instant(record.appended_at),
        "version": version_of(epoch, record.offset),
    }
    document = _document(record.value)
    if document is None or record.value is None:
        raw = None if record.value is None else base64.b64encode(record.value).decode()
        return {**line, "event": None, "value_base64": raw}
    # A line must stay one line: a foreign writer's JSON may be spread over several.
    line["event"] = document if b"\n" in record.value or b"\r" in record.value else orjson.Fragment(record.value)
    return line
