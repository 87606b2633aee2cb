"""Bring a projection up to date without a consumer: what embedded reads do first, and rebuilds do wholly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from soma_cli.core.errors import LogBehind
from soma_cli.core.eventing.audit import runs_of
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore, PositionMismatch, Run
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.workers.projection import Projection


def ends_of(log: EventLog) -> dict[int, int]:
    """The end of every partition of `memory.events` now."""
    return {partition: bounds.end for partition, bounds in log.bounds(EVENTS_TOPIC).items()}


def catch_up(
    log: EventLog,
    projection: Projection,
    ends: Mapping[int, int],
    *,
    batch_size: int,
    deadline: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Process what lies before `ends`, in batches; False if `deadline` (monotonic seconds) came first.

    Other processes may do the same at the same time: each batch starts at the position stored by whoever was last.
    `progress` is told the number of records of each batch.
    """
    for partition, end in ends.items():
        for run in _runs_to(log, projection, partition, end, batch_size):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            with suppress(PositionMismatch):
                tally = projection.process([run])
                if progress is not None:
                    progress(tally.read)
    return True


def _runs_to(log: EventLog, projection: Projection, partition: int, end: int, batch_size: int) -> Iterator[Run]:
    """Runs up to `end`, begun anew at the stored position whenever that is not where the last run led."""
    while (start := projection.positions().get(partition, 0)) < end:
        for run in runs_of(log, partition, start, end, batch_size):
            yield run
            if projection.positions().get(partition, 0) != run.end:
                break
    if start > end:
        check_in_range(log, projection.name, partition, start)


_REMEDY = (
    "put the newest log back; if it is lost, make the projections anew from what is left with "
    "`soma replay --into kv --execute`, then `--into vector --execute`"
)


def check_same_log(log: EventLog, store: MemoryStore) -> None:
    """Raises LogBehind where the log is not the one that kv has read: it lost events, and may have got others since.

    Compares the newest record that kv has passed, in each partition, with what the journal says of it.
    """
    topic_id = log.topic_id(EVENTS_TOPIC)
    for partition, stored in store.positions(topic_id).items():
        check_in_range(log, "kv", partition, stored)
        newest = Position(EVENTS_TOPIC, partition, stored - 1)
        record = next(log.scan(EVENTS_TOPIC, partition, stored - 1, stored), None)
        entry = store.journal_at(topic_id, [newest]).get(newest)
        if record is not None and entry is not None and _differ(record, entry):
            raise LogBehind(
                f"the log is not the one that kv has read: at {newest} it holds another event; "
                "some that kv has are gone, and some that it holds were left out",
                hint=_REMEDY,
                details={"projection": "kv", "partition": partition, "stored": stored, "position": str(newest)},
            )


def _differ(record: Record, entry: JournalEntry) -> bool:
    """The journal holds no bytes of what is no JSON: there the append time has to do."""
    return record.appended_at != entry.appended_at if entry.event is None else record.value != entry.event


def check_in_range(log: EventLog, projection: str, partition: int, stored: int) -> None:
    """Raises LogBehind where a stored position lies behind the log's end: going on would leave events out."""
    end = log.bounds(EVENTS_TOPIC, {partition: stored})[partition].end
    if stored > end:
        raise LogBehind(
            f"{projection} has passed {EVENTS_TOPIC}/{partition}@{stored - 1}, but the log ends at offset {end}: "
            "events that were there are gone",
            hint=_REMEDY,
            details={"projection": projection, "partition": partition, "stored": stored, "end": end},
        )
