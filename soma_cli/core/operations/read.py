"""Reading memories: now, as they were, and how they came to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.event import decode_event, epoch_of, event_of, is_canonical_uuid, version_of
from soma_cli.core.instants import format_instant, parse_instant
from soma_cli.core.memory import MemoryState, Outcome, fold
from soma_cli.core.ports import Access, EventLog, JournalEntry, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.results import HistoryEntry, Memory
from soma_cli.core.serialization import deserialize


def check_id(id: str) -> str:
    """The id in canonical form. Raises UsageError where it can't be one."""
    lowered = id.strip().lower()
    if not is_canonical_uuid(lowered):
        raise UsageError(f"{id!r} is not a memory's id", hint="ids are UUIDs, as `soma store` prints them")
    return lowered


def memory_of(state: MemoryState, access: Access | None) -> Memory:
    return Memory(
        id=state.id,
        namespace=state.namespace,
        payload=state.payload,
        importance=state.importance,
        created_at=format_instant(state.created_at),
        updated_at=format_instant(state.updated_at),
        last_access=None if access is None else format_instant(access.last_access),
        access_count=0 if access is None else access.access_count,
        version=state.version,
        last_event_id=state.last_event_id,
        model_revision=state.model_revision,
    )


def known_state(state: MemoryState | None, id: str, hint: Callable[[], str] = lambda: "") -> MemoryState:
    """The state of a memory, live or deleted. Raises NotFound where there never was one."""
    if state is None:
        raise NotFound(f"there is no memory {id}", hint=hint(), details={"id": id})
    return state


def live_state(store: MemoryStore, id: str) -> MemoryState:
    """The state of a live memory. Raises NotFound, which says when, by whom and why a deleted one was forgotten."""
    return checked_live(store, store.states([id]).get(id), id)


def checked_live(
    store: MemoryStore, found: MemoryState | None, id: str, hint: Callable[[], str] = lambda: ""
) -> MemoryState:
    """The same of a state that was read already."""
    state = known_state(found, id, hint)
    if state.deleted:
        raise forgotten(store, state, store.history(id))
    return state


def state_at(store: MemoryStore, id: str, at: str) -> MemoryState:
    """The state as it was known at a time, or after the event at a position. Raises NotFound."""
    within, history = _bound(store, at), store.history(id)
    if "@" in at:
        _check_same_partition(history, Position.parse(at))
    entries = [entry for entry in history if within(entry)]
    state = replayed_state(entries)
    if state is None:
        raise NotFound(f"there was no memory {id} at {at}", details={"id": id, "at": at})
    if state.deleted:
        raise forgotten(store, state, entries)
    return state


def _bound(store: MemoryStore, at: str) -> Callable[[JournalEntry], bool]:
    if "@" in at:
        position = Position.parse(at)
        if position.topic != EVENTS_TOPIC:
            raise UsageError(f"{position} does not lie in {EVENTS_TOPIC}", hint=f"write {EVENTS_TOPIC}/0@42")
        epoch = _newest_epoch(store)
        _check_passed(store, epoch, position)
        newest = version_of(epoch, position.offset)
        return lambda entry: entry.position.partition == position.partition and entry.version <= newest
    instant = parse_instant(at)
    return lambda entry: entry.appended_at <= instant


def _check_same_partition(history: list[JournalEntry], position: Position) -> None:
    """A position orders the events of its own partition only. Raises UsageError."""
    elsewhere = [entry.position for entry in history if entry.position.partition != position.partition]
    if history and len(elsewhere) == len(history):
        raise UsageError(
            f"{position} says nothing about {history[0].id}: its events lie in partition {elsewhere[0].partition}",
            hint="name a position of that partition, or a time",
        )


def _check_passed(store: MemoryStore, epoch: int, position: Position) -> None:
    """What lies behind the end has no answer yet. Raises UsageError."""
    topic_id = next((id for id, number in store.epochs(EVENTS_TOPIC).items() if number == epoch), "")
    passed = store.positions(topic_id).get(position.partition, 0)
    if position.offset >= passed:
        last = f"the last one is {EVENTS_TOPIC}/{position.partition}@{passed - 1}" if passed else "there is none yet"
        raise UsageError(f"{position} is no position that was passed", hint=f"in that partition, {last}")


def _newest_epoch(store: MemoryStore) -> int:
    """Positions are those of the log as it is now; what lies in the log of an earlier epoch came before all of it."""
    return max(store.epochs(EVENTS_TOPIC).values(), default=0)


def replayed_state(entries: Iterable[JournalEntry]) -> MemoryState | None:
    """The fold of the applied events of one memory, oldest first."""
    state: MemoryState | None = None
    for entry in entries:
        if entry.outcome is Outcome.APPLIED and entry.event is not None:
            event = event_of(deserialize(entry.event), entry.event)
            event.if_version = None  # kv has already decided that it counts
            _, _, state = fold(state, event, version=entry.version, appended_at=entry.appended_at)
    return state


def forgotten(store: MemoryStore, state: MemoryState, entries: Iterable[JournalEntry]) -> NotFound:
    """Says when, by whom and why a memory was deleted."""
    entry = next((entry for entry in entries if entry.version == state.version), None)
    event = deserialize(entry.event) if entry is not None and entry.event is not None else {}
    actor, reason = event.get("actor"), event.get("reason")
    when = format_instant(state.updated_at)
    position = str(entry.position) if entry is not None else None
    by = f" by {actor}" if actor else ""
    why = f": {_reason_text(reason)}" if reason else ""
    return NotFound(
        f"memory {state.id} was forgotten at {when}{by}{why}",
        hint=f"`soma history {state.id}` shows its past" + _before(store, entry),
        code="deleted",
        details={
            "id": state.id,
            "deleted_at": when,
            "actor": actor,
            "reason": reason,
            "position": position,
            "version": state.version,
        },
    )


def _before(store: MemoryStore, deletion: JournalEntry | None) -> str:
    """How to see what it was. No position tells that in an epoch that is over, or before a log's first offset."""
    if deletion is None or not deletion.position.offset or epoch_of(deletion.version) != _newest_epoch(store):
        return ""
    at = Position(deletion.position.topic, deletion.position.partition, deletion.position.offset - 1)
    return f"; `soma get {deletion.id} --at {at}` what it was"


def _reason_text(reason: dict[str, Any]) -> str:
    if reason.get("kind") == "prune":
        return f"pruned by policy {reason.get('policy')}, score {reason.get('score')}"
    text = reason.get("text")
    return str(text) if isinstance(text, str) else str(reason)


def history(log: EventLog, store: MemoryStore, topic_id: str, epoch: int, id: str) -> list[HistoryEntry]:
    """Every event of a memory, oldest first; those that kv has not reached as `pending`. Raises NotFound."""
    entries = [_history_entry(entry) for entry in store.history(id)]
    entries += _pending(log, store.positions(topic_id), epoch, id)
    if not entries:
        raise NotFound(f"there is no event of a memory {id}", details={"id": id})
    return entries


def _history_entry(entry: JournalEntry) -> HistoryEntry:
    return HistoryEntry(
        position=str(entry.position),
        event_id=entry.event_id,
        type=entry.type,
        appended_at=format_instant(entry.appended_at),
        outcome=entry.outcome.value,
        version=entry.version,
        note=entry.note,
        event=_object(entry.event),
    )


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        document = None if value is None else deserialize(value)
    except InputRejected:
        return None
    return document if isinstance(document, dict) else None


def _pending(log: EventLog, positions: dict[int, int], epoch: int, id: str) -> list[HistoryEntry]:
    found = []
    partition = log.partitions_of(EVENTS_TOPIC, [id.encode()])[0]
    bounds = log.bounds(EVENTS_TOPIC)[partition]
    for record in log.scan(EVENTS_TOPIC, partition, positions.get(partition, 0), bounds.end, id.encode()):
        try:
            event = decode_event(record)
        except InputRejected:
            event = None
        found.append(
            HistoryEntry(
                position=str(record.position),
                event_id=event.event_id if event else None,
                type=event.type if event else None,
                appended_at=format_instant(record.appended_at),
                outcome="pending",
                version=version_of(epoch, record.offset),
                note="",
                event=_object(record.value),
            )
        )
    return found
