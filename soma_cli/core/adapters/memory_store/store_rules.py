"""What both stores do in the same way, whatever they keep their tables in."""

from __future__ import annotations

from collections.abc import Iterable

from soma_cli.core.errors import LogReplaced
from soma_cli.core.event import event_of
from soma_cli.core.memory import MemoryState, fold
from soma_cli.core.ports import EntryRun, JournalEntry, PositionMismatch
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.serialization import deserialize


def not_passed(run: EntryRun, stored: int) -> EntryRun:
    """What of the run was not passed before, from the stored position on."""
    if run.start > stored:
        message = f"the run of partition {run.partition} starts at {run.start}, but the stored position is {stored}"
        raise PositionMismatch(message, run.partition, stored)
    entries = [entry for entry in run.entries if entry.record.offset >= stored]
    return EntryRun(run.partition, stored, max(stored, run.end), entries)


def folded(applied: Iterable[JournalEntry]) -> MemoryState:
    """The state that the applied events of one memory made."""
    state: MemoryState | None = None
    for entry in applied:
        assert entry.event is not None
        event = event_of(deserialize(entry.event), entry.event)
        _, _, state = fold(state, event, version=entry.version, appended_at=entry.appended_at)
    assert state is not None
    return state


def log_replaced(topic_id: str) -> LogReplaced:
    return LogReplaced(
        f"the log's {EVENTS_TOPIC} (topic id {topic_id}) is not the one that this store was made from",
        hint="put the right log back; or, if the log was replaced on purpose, run `soma init --new-epoch`",
        details={"topic_id": topic_id},
    )
