"""Waiting until the projections have passed a position, and saying what they made of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from soma_cli.core.errors import EventRejected, WaitTimedOut
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.memory import Outcome
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore, VectorIndex
from soma_cli.core.record import Position
from soma_cli.core.results import Outcomes
from soma_cli.core.workers.kv_writer import KV
from soma_cli.core.workers.vector_indexer import VECTOR

_LOOK_EVERY_S = 0.05


def wait_until(passed: Callable[[], bool], what: str, position: Position, timeout_s: float) -> None:
    """Look again and again until `passed`. Raises WaitTimedOut."""
    deadline = time.monotonic() + timeout_s
    while not passed():
        if time.monotonic() >= deadline:
            raise WaitTimedOut(
                f"{what} had not passed {position} after {timeout_s:g} s",
                hint=f"see `soma lag`; wait for it with `soma wait {position}`",
                details={"position": str(position), "projection": what},
            )
        time.sleep(_LOOK_EVERY_S)


def kv_outcome(store: MemoryStore, topic_id: str, position: Position) -> JournalEntry | None:
    """What kv recorded at the position; None where it has not passed it."""
    return store.journal_at(topic_id, [position]).get(position)


def vector_outcome(log: EventLog, index: VectorIndex, entry: JournalEntry) -> str:
    """What the index made of an event that it has passed: `applied`, `rejected` (a dead letter), or `ignored`."""
    letters = (letter for letter in read_letters(log) if letter.worker == VECTOR)
    if any(letter.source.position == entry.position for letter in letters):
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
            details={"position": str(position)},
        )
