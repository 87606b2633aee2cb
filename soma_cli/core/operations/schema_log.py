"""Whether a schema accepts what is really in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from soma_cli.core.compatibility.validation import validator
from soma_cli.core.errors import NotJson
from soma_cli.core.operations.schema_load import LoadedSchema
from soma_cli.core.ports import EventLog
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.schema_results import SchemaViolation, SubjectCheck
from soma_cli.core.serialization import deserialize, json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

_POSITIONS = 5
"""Shown of each fault."""
_FAULTS = 1000
"""Told apart; a schema has fewer pointers, unless it is recursive."""
_DOCUMENTS = 20
"""Kept whole, of as many faults: an event may be large."""
_STEP = 1000
_REFUSED = "the schema"


@dataclass(slots=True)
class _Count:
    """Events that were read and, of those refused, the faults by the pointer of what refuses them."""

    events: int = 0
    refused: int = 0
    faults: dict[tuple[str, str], SchemaViolation] = field(default_factory=dict)

    def add(self, pointer: str, keyword: str, message: str, document: Any, record: Record) -> None:
        if len(self.faults) >= _FAULTS and (pointer, keyword) not in self.faults:
            pointer, keyword, message = "", "", "more pointers than are told apart"
        found = self.faults.get((pointer, keyword))
        if found is None:
            kept = document if len(self.faults) < _DOCUMENTS else None
            found = SchemaViolation(pointer, keyword, message, kept, "the log", _REFUSED, 0)
            self.faults[pointer, keyword] = found
        assert found.count is not None
        found.count += 1
        if len(found.positions) < _POSITIONS:
            found.positions.append(str(record.position))


def check_log(
    log: EventLog, schema: LoadedSchema, progress: Callable[[int], None] = lambda events: None
) -> SubjectCheck:
    """Every event that `memory.events` holds now, streamed; memory does not grow with it. `progress` is told how many
    more were read."""
    accepts = validator(schema.document)
    count = _Count()
    told = 0
    for record in _records(log):
        _judge(record, accepts, count)
        if count.events - told >= _STEP:
            progress(count.events - told)
            told = count.events
    progress(count.events - told)
    return SubjectCheck(
        schema.name,
        "BACKWARD",
        not count.refused,
        sorted(count.faults.values(), key=lambda fault: -(fault.count or 0)),
        against=[EVENTS_TOPIC],
        path=schema.shown,
        events=count.events,
        refused=count.refused,
    )


def events_in(log: EventLog) -> int:
    """How many offsets there are to read, for a bar; a log may hold fewer events."""
    return sum(bounds.end - bounds.beginning for bounds in log.bounds(EVENTS_TOPIC).values())


def _records(log: EventLog) -> Iterator[Record]:
    for partition, bounds in sorted(log.bounds(EVENTS_TOPIC).items()):
        yield from log.scan(EVENTS_TOPIC, partition, bounds.beginning, bounds.end)


def _judge(record: Record, accepts: Draft7Validator, count: _Count) -> None:
    count.events += 1
    if record.value is None:
        count.refused += 1
        count.add("", "", "the record has no value", None, record)
        return
    try:
        document = deserialize(record.value)
    except NotJson as error:
        count.refused += 1
        count.add("", "", error.message, None, record)
        return
    if accepts.is_valid(document):
        return
    count.refused += 1
    seen = set()
    for fault in accepts.iter_errors(document):
        pointer, where = json_pointer(fault.schema_path), json_pointer(fault.instance_path)
        keyword = str(fault.schema_path[-1]) if fault.schema_path else ""
        if pointer not in seen:
            seen.add(pointer)
            count.add(pointer, keyword, f"{_short(fault.message)}{where and f' (at {where})'}", document, record)


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:299]}…"
