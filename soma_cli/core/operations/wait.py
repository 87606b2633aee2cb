"""Waiting until the projections have passed a position, and saying what they made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from soma_cli.core.errors import EventRejected, UsageError, WaitTimedOut
from soma_cli.core.eventing.dead_letters import letter_of
from soma_cli.core.memory import Outcome
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.results import Outcomes, WaitResult
from soma_cli.core.workers.catch_up import catch_up
from soma_cli.core.workers.names import KV, VECTOR
from soma_cli.core.workers.projection import Projection

_LOOK_EVERY_S = 0.02


def wait(
    log: EventLog,
    store: MemoryStore,
    index: VectorIndex,
    kv: Projection,
    vector: Projection | None,
    at: Position,
    timeout_s: float,
    *,
    batch_size: int,
    changed: Callable[[str], None] = lambda id: None,
) -> WaitResult:
    """Wait until kv, and `vector` unless None, have passed the position, and help them along meanwhile. `changed` is
    told the memory that the event is about as soon as kv has passed it.

    Raises UsageError for a position that no event can ever have, WaitTimedOut, EventRejected.
    """
    began = time.monotonic()
    _check(log, at, timeout_s)
    outcomes, topic_id = Outcomes(), log.topic_id(EVENTS_TOPIC)
    try:
        _reach(log, kv, at, timeout_s, began, batch_size)
        entry = kv_outcome(store, topic_id, at)
        outcomes.kv = None if entry is None else entry.outcome.value
        if entry is not None and entry.id is not None:
            changed(entry.id)
        if vector is not None:
            _reach(log, vector, at, timeout_s, began, batch_size)
            outcomes.vector = None if entry is None else vector_outcome(log, index, entry)
    except WaitTimedOut as error:
        error.details["outcomes"] = asdict(outcomes)
        raise
    check_not_rejected(at, outcomes, "" if entry is None else entry.note)
    return WaitResult(str(at), outcomes, time.monotonic() - began)


def _check(log: EventLog, at: Position, timeout_s: float) -> None:
    partitions = [f"{EVENTS_TOPIC}/{partition}" for partition in log.bounds(EVENTS_TOPIC)]
    if f"{at.topic}/{at.partition}" not in partitions:
        raise UsageError(
            f"{at} does not lie in {EVENTS_TOPIC}", hint=f"write for example {partitions[0]}@42, as `soma store` prints"
        )
    if not timeout_s >= 0:
        raise UsageError(f"{timeout_s} is no time to wait", hint="give the seconds, 0 or more")


def _reach(
    log: EventLog, projection: Projection, at: Position, timeout_s: float, began: float, batch_size: int
) -> None:
    """A batch at a time, so that a long backlog does not outlast the time; one batch is tried in any case."""
    while (stored := projection.positions().get(at.partition, 0)) <= at.offset:
        target = min(at.offset + 1, log.bounds(EVENTS_TOPIC)[at.partition].end, stored + batch_size)
        if target > stored and log.follows_itself:
            catch_up(log, projection, {at.partition: target}, batch_size=batch_size)
            if projection.positions().get(at.partition, 0) > at.offset:
                return
        left = began + timeout_s - time.monotonic()
        if left <= 0:
            raise _timed_out(projection, at, timeout_s)
        if target <= stored or not log.follows_itself:
            time.sleep(min(_LOOK_EVERY_S, left))


def _timed_out(projection: Projection, at: Position, timeout_s: float) -> WaitTimedOut:
    return WaitTimedOut(
        f"{projection.name} had not passed {at} after {timeout_s:g} s",
        hint=f"see `soma lag`; wait for it with `soma wait {at}`",
        details={"position": str(at), "projection": projection.name},
    )


def kv_outcome(store: MemoryStore, topic_id: str, position: Position) -> JournalEntry | None:
    """What kv recorded at the position; None where it has not passed it."""
    return store.journal_at(topic_id, [position]).get(position)


def vector_outcome(log: EventLog, index: VectorIndex, entry: JournalEntry) -> str:
    """What the index made of an event that it has passed: `applied`, `rejected` (a dead letter), or `ignored`."""
    if letter_of(log, VECTOR, entry.position) is not None:
        return Outcome.REJECTED.value
    held = index.versions([entry.id]).get(entry.id) if entry.id is not None else None
    return (Outcome.APPLIED if held == entry.version else Outcome.IGNORED).value


def check_not_rejected(position: Position, outcomes: Outcomes, note: str) -> None:
    """Raises EventRejected where a projection rejected the event."""
    rejecting = [name for name in (KV, VECTOR) if getattr(outcomes, name) == Outcome.REJECTED.value]
    if rejecting:
        raise EventRejected(
            f"{' and '.join(rejecting)} rejected the event at {position}" + (f": {note}" if note else ""),
            hint="see `soma dlq list`",
            code="event_rejected",
            details={"position": str(position), "outcomes": asdict(outcomes)},
        )
