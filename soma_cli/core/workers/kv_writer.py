"""kv: the only worker that runs the fold. Canonical rows, journal and position, in one transaction a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from soma_cli.core.errors import EventRejected, InputRejected, ValueRefused
from soma_cli.core.event import decode_event
from soma_cli.core.eventing.dead_letters import attempts_of, letter, tell_rejected
from soma_cli.core.memory import Entry, Outcome
from soma_cli.core.ports import Applied, Batch, CanonicalTables, EntryRun, EventLog, Run
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.workers.names import KV
from soma_cli.core.workers.projection import PoisonStorm, Tally

logger = logging.getLogger("soma")

RejectsBefore = Callable[[int, int], int]
"""How many of a partition's newest positions in a row were rejected, counted up to a limit."""
WriteThrough = Callable[[Applied, Sequence[EntryRun]], None]
"""Told of what was applied of which runs, once it is durable."""


def judge(record: Record) -> Entry:
    """Decode a record; what is wrong with it for good becomes the entry's rejection."""
    try:
        return Entry(record, decode_event(record), None)
    except InputRejected as error:
        return Entry(record, None, error)


class JudgedRecords(list[Record]):
    """Records of a run that were judged before they came to kv."""

    def __init__(self, run: EntryRun) -> None:
        super().__init__(entry.record for entry in run.entries)
        self.entries = run.entries


def judged(log: EventLog, run: Run) -> EntryRun:
    """What is wrong with a record for good, by the record alone; and whether its key belongs in the partition."""
    if isinstance(run.records, JudgedRecords):
        return EntryRun(run.partition, run.start, run.end, run.records.entries)
    entries = [judge(record) for record in run.records]
    good = [number for number, entry in enumerate(entries) if entry.event is not None]
    keys = [run.records[number].key or b"" for number in good]
    for number, partition in zip(good, log.partitions_of(EVENTS_TOPIC, keys), strict=True):
        if partition != run.partition:
            entries[number] = _misplaced(run.records[number], partition)
    return EntryRun(run.partition, run.start, run.end, entries)


class KvWriter:
    """Projection into the canonical tables, live or shadow.

    `max_rejects_in_a_row` = 0 means that any number is allowed in a partition; `rejects_before` counts those just
    passed. Without `bury` (for a rebuild, whose live counterpart has done it) no dead letters are written.
    """

    name = KV

    def __init__(
        self,
        log: EventLog,
        tables: CanonicalTables,
        topic_id: str,
        *,
        max_rejects_in_a_row: int = 0,
        rejects_before: RejectsBefore = lambda partition, limit: 0,
        bury: bool = True,
        written_through: WriteThrough | None = None,
    ) -> None:
        self._log = log
        self._tables = tables
        self._topic_id = topic_id
        self._max_rejects = max_rejects_in_a_row
        self._rejects_before = rejects_before
        self._buries = bury
        self._written_through = written_through

    def positions(self) -> dict[int, int]:
        return self._tables.positions(self._topic_id)

    def process(self, runs: Sequence[Run]) -> Tally:
        entry_runs = [judged(self._log, run) for run in runs]
        storms = [storm for run in entry_runs if (storm := self._storm(run)) is not None]
        if not storms:
            return self._apply(entry_runs)
        stops = {entry.record.partition: entry.record.offset for entry in storms}
        before = [_up_to(run, stops[run.partition]) if run.partition in stops else run for run in entry_runs]
        done = self._apply(before)
        raise _poison_storm(self.name, storms[0], self._max_rejects, done, {run.partition: run.end for run in before})

    def _storm(self, run: EntryRun) -> Entry | None:
        """The reject that is one too many in a row of this partition."""
        if not self._max_rejects or all(entry.rejection is None for entry in run.entries):
            return None
        # The store counts, not this process: else a worker that is restarted would drain the log bit by bit, and one
        # that was idle would miss the good records that other processes applied meanwhile.
        streak = self._rejects_before(run.partition, self._max_rejects)
        stored = self.positions().get(run.partition, 0)
        for entry in run.entries:
            if entry.record.offset < stored:
                continue
            streak = streak + 1 if entry.rejection is not None else 0
            if streak > self._max_rejects:
                return entry
        return None

    def _apply(self, runs: list[EntryRun]) -> Tally:
        self._bury([entry for run in runs for entry in run.entries if entry.rejection is not None])
        try:
            applied = self._tables.apply(Batch(self._topic_id, runs))
        except ValueRefused as error:
            return self._isolate(runs, error)
        if self._written_through is not None:
            self._written_through(applied, runs)
        return _tally(applied, sum(len(run.entries) for run in runs))

    def _isolate(self, runs: list[EntryRun], error: ValueRefused) -> Tally:
        """The store refused something in the batch: apply it by halves, so that only what it can't hold is lost."""
        halves = [[run] for run in runs] if len(runs) > 1 else _halved(runs[0])
        if len(halves) == 1:
            return self._refused(runs[0], error)
        tally = Tally()
        for half in halves:
            tally.add(self._apply(half))
        return tally

    def _refused(self, run: EntryRun, error: ValueRefused) -> Tally:
        """Reject the one record. Raises the error where the store can't hold so much as a rejection, and PoisonStorm
        where it has refused too many in a row: then it is the store that is at fault."""
        if not run.entries or run.entries[0].rejection is not None:
            raise error
        record = run.entries[0].record
        entry = Entry(record, None, EventRejected(error.message, pointer=error.pointer, code=error.code))
        if self._max_rejects and self._rejects_before(run.partition, self._max_rejects) >= self._max_rejects:
            raise _poison_storm(self.name, entry, self._max_rejects, Tally(), {})
        return self._apply([run._replace(entries=[entry])])

    def _bury(self, rejected: list[Entry]) -> None:
        """Write the dead letters before the position moves past them; a crash in between writes them once more."""
        if not (rejected and self._buries):
            return
        stored = self.positions()
        letters = [
            letter(KV, entry.record, entry.rejection, attempts_of(entry.record) + 1)
            for entry in rejected
            if entry.rejection is not None and entry.record.offset >= stored.get(entry.record.partition, 0)
        ]
        if letters:
            self._log.append(letters)
            for entry in rejected:
                if entry.rejection is not None:
                    tell_rejected(KV, entry.record, entry.rejection)


def _tally(applied: Applied, read: int) -> Tally:
    tally = Tally(read=read, redelivered=applied.redelivered)
    for decision in applied.decisions:
        match decision.outcome:
            case Outcome.APPLIED:
                tally.applied += 1
            case Outcome.DUPLICATE:
                tally.duplicate += 1
            case Outcome.IGNORED:
                tally.ignored += 1
            case Outcome.REJECTED:
                tally.rejected += 1
    return tally


def _misplaced(record: Record, partition: int) -> Entry:
    error = EventRejected(
        f"the record lies in partition {record.partition}; its key belongs in {partition}",
        hint="produce with the partitioner murmur2_random, as soma does",
        code="wrong_partition",
    )
    return Entry(record, None, error)


def _up_to(run: EntryRun, stop: int) -> EntryRun:
    return run._replace(end=stop, entries=[entry for entry in run.entries if entry.record.offset < stop])


def _halved(run: EntryRun) -> list[list[EntryRun]]:
    """Two runs that join up; one where there is nothing to part."""
    if len(run.entries) < 2:
        return [[run]]
    half = len(run.entries) // 2
    middle = run.entries[half].record.offset
    first = run._replace(end=middle, entries=run.entries[:half])
    return [[first], [run._replace(start=middle, entries=run.entries[half:])]]


def _poison_storm(name: str, entry: Entry, limit: int, done: Tally, positions: dict[int, int]) -> PoisonStorm:
    assert entry.rejection is not None
    return PoisonStorm(
        f"{name} stopped before {EVENTS_TOPIC}/{entry.record.partition}@{entry.record.offset}: more than {limit} "
        f"records in a row were rejected, the next for this: {entry.rejection.message}",
        hint=f"see `soma dlq list`; if they really are bad, go on with `soma consume {name} --max-rejects 0`",
        details={"position": str(entry.record.position), "code": entry.rejection.code},
        done=done,
        positions=positions,
    )
