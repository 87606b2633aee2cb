"""Records, entries and batches for the contracts: short to write, valid, and the same in every process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from soma_cli.core.memory import Entry
from soma_cli.core.ports import Batch, EntryRun, EventLog
from soma_cli.core.record import EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.serialization import serialize
from soma_cli.core.workers.kv_writer import judge

TOPIC_ID = "topic-1"
FIRST_INSTANT = 1_700_000_000_000_000


def uid(number: int) -> str:
    return str(UUID(int=number << 64 | 7))


def event_value(memory: int, event: int, type: str = "created", **fields: Any) -> bytes:
    """An event's JSON: `memory` numbers its id, `event` its event_id; a deleted one has no payload."""
    document = {
        "event_id": uid(1_000_000 + event),
        "id": uid(memory),
        "namespace": "default",
        "type": type,
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "payload": {} if type == "deleted" else {"text": f"event {event}"},
    }
    return serialize(document | fields)


def new_record(memory: int, event: int, type: str = "created", **fields: Any) -> NewRecord:
    return NewRecord(EVENTS_TOPIC, uid(memory).encode(), event_value(memory, event, type, **fields))


def record(
    offset: int, memory: int, event: int | None = None, type: str = "created", partition: int = 0, **fields: Any
) -> Record:
    """A record as the log would give it; without `event` the event is numbered like the offset."""
    value = event_value(memory, offset if event is None else event, type, **fields)
    return raw_record(offset, uid(memory).encode(), value, partition)


def raw_record(offset: int, key: bytes | None, value: bytes | None, partition: int = 0) -> Record:
    return Record(EVENTS_TOPIC, partition, offset, FIRST_INSTANT + offset * 1000, key, value)


def entries_of(records: Iterable[Record]) -> list[Entry]:
    return [judge(item) for item in records]


def batch(*records: Record, start: int | None = None, end: int | None = None, topic_id: str = TOPIC_ID) -> Batch:
    """The batch of these records of one partition; its range is theirs unless said otherwise."""
    return Batch(topic_id, [run(*records, start=start, end=end)])


def run(*records: Record, partition: int = 0, start: int | None = None, end: int | None = None) -> EntryRun:
    """The run of these records; its partition and range are theirs unless said otherwise."""
    first = records[0].offset if start is None else start
    behind = records[-1].offset + 1 if end is None else end
    return EntryRun(records[0].partition if records else partition, first, behind, entries_of(records))


def everything(log: EventLog, topic: str = EVENTS_TOPIC) -> list[Record]:
    """All records of a topic, partition by partition."""
    return [
        item
        for partition, bounds in sorted(log.bounds(topic).items())
        for item in log.scan(topic, partition, bounds.beginning, bounds.end)
    ]
