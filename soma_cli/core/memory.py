"""The fold: the state of a memory as a pure function of its events in log order.

Nothing here knows a clock, a database or a configuration, so every projection, rebuild and test decides the same.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, MutableSet
from enum import StrEnum
from typing import Any, NamedTuple

from soma_cli.core.errors import InputRejected
from soma_cli.core.event import CREATED, DELETED, NO_STATE, UPDATED, MemoryEvent, version_of
from soma_cli.core.record import Record
from soma_cli.core.serialization import deserialize, serialize_known


class Outcome(StrEnum):
    """What became of the event at a position; recorded once per position."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"


class MemoryState(NamedTuple):
    """A memory as its events made it. A deleted one is a tombstone: no payload, everything else kept.

    `payload_json` is the payload's JSON; `created_at` and `updated_at` are append times in microseconds.
    """

    id: str
    namespace: str
    payload_json: bytes
    importance: float
    created_at: int
    updated_at: int
    version: int
    last_event_id: str
    model_revision: str | None
    deleted: bool

    @property
    def payload(self) -> dict[str, Any]:
        payload = deserialize(self.payload_json)
        assert isinstance(payload, dict)
        return payload


class Entry(NamedTuple):
    """A record and what decoding made of it: an event, or the error that no retry will change."""

    record: Record
    event: MemoryEvent | None
    rejection: InputRejected | None


class Decision(NamedTuple):
    """The fold's word on one entry. `state` is the memory's state after it (None: it has none)."""

    entry: Entry
    version: int
    outcome: Outcome
    note: str
    state: MemoryState | None


EventKey = tuple[str, str]
"""(id, event_id): what is counted once, at its first position."""


def fold(
    state: MemoryState | None, event: MemoryEvent, *, version: int, appended_at: int
) -> tuple[Outcome, str, MemoryState | None]:
    """One event upon one state: the outcome, a note that says why it was ignored, and the state after it.

    The caller has already ruled out duplicates. An ignored event leaves the state as it was.
    """
    held = NO_STATE if state is None else state.version
    if event.if_version is not None and event.if_version != held:
        return Outcome.IGNORED, f"if_version is {event.if_version}, {_held(held)}", state
    alive = state is not None and not state.deleted
    if event.type == UPDATED and not alive:
        return Outcome.IGNORED, "updated, but the memory is " + ("deleted" if state else "unknown"), state
    return Outcome.APPLIED, "", _state_after(state, event, alive, version, appended_at)


def _held(version: int) -> str:
    return "the memory has no state" if version == NO_STATE else f"the state is at version {version}"


def _state_after(
    state: MemoryState | None, event: MemoryEvent, alive: bool, version: int, appended_at: int
) -> MemoryState:
    deleted = event.type == DELETED
    if deleted and state is not None:
        return state._replace(
            payload_json=b"{}",
            updated_at=appended_at,
            version=version,
            last_event_id=event.event_id,
            deleted=True,
        )
    assert deleted or event.type in (CREATED, UPDATED)
    return MemoryState(  # by position: keywords take twice as long, and each event comes by here
        event.id,
        event.namespace,
        b"{}" if deleted else serialize_known(event.payload),
        event.importance,
        state.created_at if state is not None and alive else appended_at,
        appended_at,
        version,
        event.event_id,
        event.model_revision,
        deleted,
    )


def decide(
    entries: Iterable[Entry], *, epoch: int, states: MutableMapping[str, MemoryState], seen: MutableSet[EventKey]
) -> list[Decision]:
    """Fold a run of entries in log order.

    `states` and `seen` hold what is known of the ids and events among them; both are brought up to date in place.
    """
    return [_decide_one(entry, version_of(epoch, entry.record.offset), states, seen) for entry in entries]


def _decide_one(
    entry: Entry, version: int, states: MutableMapping[str, MemoryState], seen: MutableSet[EventKey]
) -> Decision:
    event = entry.event
    if event is None:
        assert entry.rejection is not None
        return Decision(entry, version, Outcome.REJECTED, entry.rejection.message, None)
    state = states.get(event.id)
    key = (event.id, event.event_id)
    if key in seen:
        return Decision(entry, version, Outcome.DUPLICATE, "", state)
    seen.add(key)
    outcome, note, after = fold(state, event, version=version, appended_at=entry.record.appended_at)
    if outcome is Outcome.APPLIED and after is not None:
        states[event.id] = after
    return Decision(entry, version, outcome, note, after)
