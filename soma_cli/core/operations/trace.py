"""Where one event is: in the log, in every projection, among the dead letters. Looks only: nothing is applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from soma_cli.core.errors import InputRejected, NotFound
from soma_cli.core.event import epoch_of, version_of
from soma_cli.core.eventing.dead_letters import DeadLetter, letter_of
from soma_cli.core.instants import format_instant
from soma_cli.core.memory import MemoryState, Outcome
from soma_cli.core.operations.projections import PROJECTIONS, registered_epoch
from soma_cli.core.operations.wait import vector_outcome
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.results import TraceResult, TraceStep
from soma_cli.core.serialization import deserialize

PENDING = "pending"


class Occurrence(NamedTuple):
    """One position of the event. `entry` is kv's row, None where kv has not reached it. `id` and `type` as claimed."""

    version: int
    position: Position
    appended_at: int
    id: str | None
    type: str | None
    entry: JournalEntry | None


def trace(log: EventLog, store: MemoryStore, index: VectorIndex, event_id: str) -> TraceResult:
    """Every place of the event, in the order in which it gets there. Raises NotFound where the log has no such event.

    An event that kv rejected is in no row under its event id: for that one the whole log is read.
    """
    event_id = event_id.strip().lower()
    epoch, topic_id = registered_epoch(log, store), log.topic_id(EVENTS_TOPIC)
    passed = store.positions(topic_id)
    found = [_journaled(entry) for entry in store.find_event(event_id)]
    found += [_in_log(record, event_id, epoch, None) for record in _records(log, event_id, passed, tail=True)]
    if not found:
        rejected = {record.position: record for record in _records(log, event_id, passed, tail=False)}
        rows = store.journal_at(topic_id, rejected)
        found = [_in_log(record, event_id, epoch, rows.get(at)) for at, record in rejected.items()]
    if not found:
        raise NotFound(
            f"there is no event {event_id}",
            hint=_whose_events(store, event_id),
            details={"event_id": event_id},
        )
    indexed = index.positions(topic_id)
    states = store.states({item.id for item in found if item.id is not None})
    steps: list[TraceStep] = []
    for item in found:
        steps += [_log_step(item, epoch), _kv_step(item, passed), _vector_step(log, index, item, indexed, epoch)]
        steps += [_letter_step(letter) for letter in _letters(log, item, epoch)]
        steps += _memory_step(item, states.get(item.id or ""))
    return TraceResult(event_id, found[0].id, found[0].type, str(found[0].position), steps)


def _whose_events(store: MemoryStore, id: str) -> str:
    if store.states([id]):
        return f"it is the id of a memory; `soma history {id} -q` prints those of its events"
    return "`soma history ID -q` prints the ids of a memory's events"


def _journaled(entry: JournalEntry) -> Occurrence:
    return Occurrence(entry.version, entry.position, entry.appended_at, entry.id, entry.type, entry)


def _records(log: EventLog, event_id: str, passed: dict[int, int], *, tail: bool) -> Iterator[Record]:
    """The records of the event behind kv's position (`tail`), or before it."""
    needle = event_id.encode(errors="replace")
    for partition, bounds in log.bounds(EVENTS_TOPIC).items():
        middle = passed.get(partition, 0)
        start, end = (middle, bounds.end) if tail else (bounds.beginning, min(middle, bounds.end))
        for record in log.scan(EVENTS_TOPIC, partition, start, end):
            if record.value is not None and needle in record.value.lower() and _claims(record)[0] == event_id:
                yield record


def _claims(record: Record) -> tuple[str | None, str | None, str | None]:
    """event_id, id and type as the record's JSON gives them, be it a valid event or not."""
    try:
        document = deserialize(record.value or b"")
    except InputRejected:
        return None, None, None
    values = [document.get(name) if isinstance(document, dict) else None for name in ("event_id", "id", "type")]
    event_id, id, type = (value if isinstance(value, str) else None for value in values)
    return event_id and event_id.lower(), id, type


def _in_log(record: Record, event_id: str, epoch: int, entry: JournalEntry | None) -> Occurrence:
    _, id, type = _claims(record)
    return Occurrence(version_of(epoch, record.offset), record.position, record.appended_at, id, type, entry)


def _log_step(item: Occurrence, epoch: int) -> TraceStep:
    at = format_instant(item.appended_at)
    if epoch_of(item.version) == epoch:
        return TraceStep("log", "appended", at, "", str(item.position))
    detail = f"in the log of epoch {epoch_of(item.version)}, which was replaced; the journal has it still"
    return TraceStep("log", "replaced", at, detail, str(item.position))


def _kv_step(item: Occurrence, passed: dict[int, int]) -> TraceStep:
    if item.entry is None:
        at = passed.get(item.position.partition, 0)
        detail = f"kv is at {at}: the next read applies it, or `soma consume kv`"
        return TraceStep("kv", PENDING, None, detail, str(item.position))
    entry = item.entry
    return TraceStep("kv", entry.outcome.value, format_instant(entry.applied_at), entry.note, str(item.position))


def _vector_step(log: EventLog, index: VectorIndex, item: Occurrence, indexed: dict[int, int], epoch: int) -> TraceStep:
    if item.entry is None or (epoch_of(item.version) == epoch and not _passed(item.position, indexed)):
        at = indexed.get(item.position.partition, 0)
        detail = f"vector is at {at}: the next search applies it, or `soma consume vector`"
        return TraceStep("vector", PENDING, None, detail, str(item.position))
    state = vector_outcome(log, index, item.entry)
    newer = state == Outcome.IGNORED.value and item.entry.outcome is Outcome.APPLIED
    detail = "the index does not hold this version of the memory any more" if newer else ""
    return TraceStep("vector", state, None, detail, str(item.position))


def _passed(position: Position, stored: dict[int, int]) -> bool:
    return stored.get(position.partition, 0) > position.offset


def _letters(log: EventLog, item: Occurrence, epoch: int) -> list[DeadLetter]:
    if epoch_of(item.version) != epoch:
        return []
    found = (letter_of(log, worker, item.position) for worker in PROJECTIONS)
    return [letter for letter in found if letter is not None]


def _letter_step(letter: DeadLetter) -> TraceStep:
    detail = f"{letter.worker}, attempt {letter.attempts}: {letter.message} ({letter.position})"
    return TraceStep("dlq", letter.code, letter.failed_at or None, detail, str(letter.source.position))


def _memory_step(item: Occurrence, state: MemoryState | None) -> list[TraceStep]:
    """What became of the memory since, for the occurrence that counted."""
    if state is None or item.entry is None or item.entry.outcome is not Outcome.APPLIED:
        return []
    if state.version == item.version:
        word, detail = "current", "memory {} is forgotten since" if state.deleted else "the state of memory {}"
    else:
        word = "forgotten" if state.deleted else "superseded"
        detail = f"memory {{}} is at version {state.version} now, made by event {state.last_event_id}"
    return [TraceStep("memory", word, format_instant(state.updated_at), detail.format(state.id), str(item.position))]
