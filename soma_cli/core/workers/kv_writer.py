"""kv: the only worker that runs the fold. Canonical rows, journal and position, in one transaction a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from soma_cli.core.errors import EventRejected, InputRejected, ValueRefused
from soma_cli.core.event import decode_event
from soma_cli.core.eventing.dead_letters import attempts_of, letter
from soma_cli.core.memory import Entry, Outcome
from soma_cli.core.ports import Applied, Batch, CanonicalTables, EventLog
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.workers.projection import PoisonStorm, Tally

KV = "kv"


def judge(record: Record) -> Entry:
    """Decode a record; what is wrong with it for good becomes the entry's rejection."""
    try:
        return Entry(record, decode_event(record), None)
    except InputRejected as error:
        return Entry(record, None, error)


class KvWriter:
    """Projection into the canonical tables, live or shadow.

    `max_rejects_in_a_row` = 0 means that any number is allowed; `rejects_before` counts those
    just passed, up to a limit.
    Without `bury` (for a rebuild, whose live counterpart has done it) no dead letters are written.
    """

    name = KV

    def __init__(
        self,
        log: EventLog,
        tables: CanonicalTables,
        topic_id: str,
        *,
        max_rejects_in_a_row: int = 0,
        rejects_before: Callable[[int], int] = lambda limit: 0,
        bury: bool = True,
    ) -> None:
        self._log = log
        self._tables = tables
        self._topic_id = topic_id
        self._max_rejects = max_rejects_in_a_row
        self._rejects_before = rejects_before
        self._buries = bury

    def positions(self) -> dict[int, int]:
        return self._tables.positions(self._topic_id)

    def process(self, partition: int, start: int, end: int, records: Sequence[Record]) -> Tally:
        entries = [judge(record) for record in records]
        allowed = self._allowed(partition, entries)
        if allowed < len(entries):
            stop = entries[allowed].record.offset
            done = self._apply(partition, start, stop, entries[:allowed])
            raise _poison_storm(entries[allowed], self._max_rejects, done)
        return self._apply(partition, start, end, entries)

    def _allowed(self, partition: int, entries: list[Entry]) -> int:
        """How many entries come before the reject that is one too many in a row."""
        if not self._max_rejects or all(entry.rejection is None for entry in entries):
            return len(entries)
        # The store counts, not this process: else a worker that is restarted would drain the log bit by bit, and one
        # that was idle would miss the good records that other processes applied meanwhile.
        streak = self._rejects_before(self._max_rejects)
        stored = self.positions().get(partition, 0)
        for number, entry in enumerate(entries):
            if entry.record.offset < stored:
                continue
            streak = streak + 1 if entry.rejection is not None else 0
            if streak > self._max_rejects:
                return number
        return len(entries)

    def _apply(self, partition: int, start: int, end: int, entries: list[Entry]) -> Tally:
        self._bury([entry for entry in entries if entry.rejection is not None])
        try:
            applied = self._tables.apply(Batch(self._topic_id, partition, start, end, entries))
        except ValueRefused as error:
            return self._isolate(partition, start, end, entries, error)
        return _tally(applied, len(entries))

    def _isolate(self, partition: int, start: int, end: int, entries: list[Entry], error: ValueRefused) -> Tally:
        """The store refused something in the batch: apply it by halves, so that only what it can't hold is lost."""
        if len(entries) == 1:
            refused = Entry(
                entries[0].record, None, EventRejected(error.message, pointer=error.pointer, code=error.code)
            )
            return self._apply(partition, start, end, [refused])
        half = len(entries) // 2
        middle = entries[half].record.offset
        tally = self._apply(partition, start, middle, entries[:half])
        tally.add(self._apply(partition, middle, end, entries[half:]))
        return tally

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


def _poison_storm(entry: Entry, limit: int, done: Tally) -> PoisonStorm:
    assert entry.rejection is not None
    return PoisonStorm(
        f"kv stopped before {EVENTS_TOPIC}/{entry.record.partition}@{entry.record.offset}: more than {limit} records "
        f"in a row were rejected, the next for this: {entry.rejection.message}",
        hint="see `soma dlq list`; if they really are bad, go on with `soma consume kv --max-rejects 0`",
        details={"position": str(entry.record.position), "code": entry.rejection.code},
        done=done,
        position=entry.record.offset,
    )
