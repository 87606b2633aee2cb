"""Appending one event, and settling what an idempotency key already stands for."""

from __future__ import annotations

from dataclasses import dataclass

from soma_cli.core.errors import CheckFailed, IdempotencyConflict
from soma_cli.core.event import DELETED, MemoryEvent
from soma_cli.core.eventing.producer import append_events
from soma_cli.core.memory import EventKey, MemoryState
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore
from soma_cli.core.results import Receipt
from soma_cli.core.serialization import deserialize

NOT_ASKED = object()


def append_one(log: EventLog, event: MemoryEvent) -> Receipt:
    """Append an event that is known to be new."""
    return receipt(event, str(append_events(log, [event])[0].position), duplicate=False)


def receipt(event: MemoryEvent, position: str, *, duplicate: bool | None) -> Receipt:
    return Receipt(event.id, event.event_id, position, event.type, event.namespace, duplicate)


@dataclass(frozen=True, slots=True)
class Compared:
    """Which fields of a repeated call must be the same: not those that were filled in for the caller."""

    importance: bool
    timestamp: bool


def content_given(importance: object = NOT_ASKED, timestamp: object = None) -> Compared:
    """`importance` left out means that nothing but the caller settles it."""
    return Compared(importance=importance is not None, timestamp=timestamp is not None)


def earlier_receipt(store: MemoryStore, event: MemoryEvent, compared: Compared) -> Receipt | None:
    """The receipt of the same event where the journal holds it. Raises IdempotencyConflict for other content."""
    key = (event.id, event.event_id)
    found = store.first_positions([key]).get(key)
    if found is None:
        return None
    check_same_content(event, found, compared)
    return receipt(event, str(found.position), duplicate=True)


def check_same_content(event: MemoryEvent, found: JournalEntry, compared: Compared) -> None:
    """The same key must mean the same event."""
    assert found.event is not None
    ours, theirs = deserialize(event.value), deserialize(found.event)
    filled_in = {name for name in ("importance", "timestamp") if not getattr(compared, name)}
    names = {*ours, *theirs} - filled_in
    differing = sorted(name for name in names if ours.get(name) != theirs.get(name))
    if differing:
        raise IdempotencyConflict(
            f"the same idempotency key was used at {found.position} with other content ({', '.join(differing)} differ)",
            pointer=f"/{differing[0]}",
            hint="use another key, or `soma update` to change the memory",
            details={"position": str(found.position), "id": event.id, "event_id": event.event_id},
        )


def earlier_positions(store: MemoryStore, events: list[MemoryEvent]) -> dict[EventKey, JournalEntry]:
    return store.first_positions([(event.id, event.event_id) for event in events])


def check_version(state: MemoryState, if_version: int | None, type: str) -> None:
    """Refuse at once what kv would ignore. Raises CheckFailed."""
    if if_version is not None and if_version != state.version:
        verb = "deleted" if type == DELETED else "updated"
        raise CheckFailed(
            f"memory {state.id} was not {verb}: it is at version {state.version}, not {if_version}",
            hint=f"look at it again with `soma get {state.id}`",
            code="version_conflict",
            details={"id": state.id, "version": state.version, "if_version": if_version},
        )
