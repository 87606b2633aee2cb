"""Bulk: JSON Lines to events, each validated by itself, appended in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from soma_cli.core.errors import EventRejected, IdempotencyConflict, SomaError
from soma_cli.core.event import MemoryEvent, version_of
from soma_cli.core.eventing.producer import append_events
from soma_cli.core.eventing.producer_schema import CheckSchema, unchecked
from soma_cli.core.memory import EventKey
from soma_cli.core.operations.lines import Line, LineReader
from soma_cli.core.operations.rehearsal import OffsetTable, Rehearsal
from soma_cli.core.operations.write import check_same_content
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore
from soma_cli.core.record import Headers
from soma_cli.core.results import ProduceResult
from soma_cli.core.serialization import deserialize, serialize

_BATCH = 500
_REMOTE_BATCH = 5000
"""Where each append waits for brokers to acknowledge it, larger batches wait less often."""
_BATCH_BYTES = 16 << 20
_BATCH_S = 1.0
"""Lines that come slowly do not wait until there are many."""
# The version of an event that was ignored where it came from, and must be ignored here too: none will ever be this.
_NEVER = version_of(8191, (1 << 40) - 1)


def produce(run: BulkRun, lines: Iterable[bytes], progress: Callable[[int], None]) -> ProduceResult:
    """Append the event of every good line; what is there already is not appended again.

    `progress` is told how many more lines are done. An error carries in its details what was done before it; the same
    lines can be produced again for the rest where they have event_ids or a key.
    """
    batch: list[Line] = []
    done = size = 0
    began = time.monotonic()
    try:
        for line in run.reader.read(lines):
            batch.append(line)
            size += len(line.event.value)
            full = len(batch) >= run.batch_size or size >= _BATCH_BYTES
            if full or time.monotonic() - began >= _BATCH_S:
                run.append(batch)
                progress(line.number - done)
                batch, done, size, began = [], line.number, 0, time.monotonic()
        run.append(batch)
    except SomaError as error:
        names = ("accepted", "appended", "first_position", "last_position")
        error.details |= {name: getattr(run.result, name) for name in names}
        raise
    run.result.rejected, run.result.rejects = run.reader.rejected, run.reader.rejects
    return run.result


class BulkRun:
    """One bulk run and its result so far. To `rehearse` is to find out which lines would be rejected.

    What earlier batches appended is in the journal once `apply_kv` has brought that up to the log; only where workers
    do that, in their own time, is it remembered where each event went, and what it was where another line might claim
    to be the same: in some 50 to 150 bytes.
    """

    def __init__(
        self,
        log: EventLog,
        store: MemoryStore,
        reader: LineReader,
        *,
        check_schema: CheckSchema = unchecked,
        epoch: Callable[[], int],
        apply_kv: Callable[[], None],
        rehearse: bool = False,
    ) -> None:
        self.result = ProduceResult()
        self.reader = reader
        self.batch_size = _BATCH if log.follows_itself else _REMOTE_BATCH
        self._log = log
        self._store = store
        self._check_schema = check_schema
        self._epoch = epoch
        self._apply_kv = apply_kv
        self._rehearsal = Rehearsal() if rehearse else None
        self._journal_is_current = False
        self._appended = OffsetTable()
        self._contents = Rehearsal()

    def append(self, lines: list[Line]) -> None:
        batch = _Batch(self._journal(lines))
        for line in lines:
            try:
                self._take(line, batch)
            except (IdempotencyConflict, EventRejected) as error:
                self.reader.reject(line.number, error)
        self._flush(batch)

    def _journal(self, lines: list[Line]) -> dict[EventKey, JournalEntry]:
        """What is known of the lines' events, and of those that they wait for."""
        keys = {line.key for line in lines if line.settled}
        keys |= {line.awaited_key for line in lines if line.awaited_key is not None}
        if not keys:
            return {}
        if not self._journal_is_current:
            self._apply_kv()
            self._journal_is_current = True
        return self._store.first_positions(keys)

    def _take(self, line: Line, batch: _Batch) -> None:
        if line.settled and self._is_there(line, batch):
            self.result.accepted += 1
            self.result.duplicates += 1
            return
        if line.awaits is not None:
            self._translate(line, batch)
        headers = self._check_schema(line.event)
        batch.first.setdefault(line.key, line)
        batch.pending.append(line)
        batch.headers.append(headers)

    def _is_there(self, line: Line, batch: _Batch) -> bool:
        """Whether the line's event needs no appending. Raises IdempotencyConflict for one of other content.

        Not for a replayed line: in the log where it comes from, too, only the first event of that event_id counts.
        """
        if (entry := batch.journal.get(line.key)) is not None:
            if not line.replayed:
                check_same_content(line.event, entry.event, entry.position, line.filled_in)
            return True
        if line.key in self._appended:
            if not line.replayed:
                _is_rehearsed(self._contents, line)
            return True
        if (earlier := batch.first.get(line.key)) is not None:
            if not line.replayed:
                check_same_content(line.event, earlier.event.value, earlier.number, line.filled_in)
            return True
        return self._rehearsal is not None and _is_rehearsed(self._rehearsal, line)

    def _translate(self, line: Line, batch: _Batch) -> None:
        """A version names a place in one log: what waits for an event's version gets the one it has in this log."""
        key = line.awaited_key
        if key in batch.first and self._rehearsal is None:
            self._flush(batch)
        if key is None:
            _replace_if_version(line.event, _NEVER)
        elif (version := self._version(key, batch)) is not None:
            _replace_if_version(line.event, version)
        elif self._rehearsal is None or key not in self._rehearsal:
            raise EventRejected(
                f"the event waits for event {key[1]} of its memory, which is neither here nor in an earlier line",
                pointer="/if_event_id",
                hint="replay from an offset before that event, without a selection that leaves it out",
                code="if_version",
            )

    def _version(self, key: EventKey, batch: _Batch) -> int | None:
        """The version that an event of an earlier line, or of an earlier run, made in this log."""
        if (entry := batch.journal.get(key)) is not None:
            return entry.version
        offset = batch.appended.get(key)
        if offset is None:
            offset = self._appended.get(key)
        return None if offset is None else version_of(self._epoch(), offset)

    def _flush(self, batch: _Batch) -> None:
        if batch.pending and self._rehearsal is None:
            appended = append_events(self._log, [line.event for line in batch.pending], batch.headers)
            for line, receipt in zip(batch.pending, appended, strict=True):
                batch.appended[line.key] = receipt.position.offset
                if not self._log.follows_itself and (line.settled or line.replayed):
                    self._appended.put(line.key, receipt.position.offset)
                    if not line.replayed:
                        self._contents.same_content(line)
            self._journal_is_current = not self._log.follows_itself
            self.result.count([receipt.position for receipt in appended])
        self.result.accepted += len(batch.pending)
        batch.pending.clear()
        batch.headers.clear()


class _Batch:
    """The lines in hand: what is known of their events, the first line of each, and those not appended yet."""

    def __init__(self, journal: dict[EventKey, JournalEntry]) -> None:
        self.journal = journal
        self.appended: dict[EventKey, int] = {}
        self.first: dict[EventKey, Line] = {}
        self.pending: list[Line] = []
        self.headers: list[Headers] = []


def _is_rehearsed(rehearsal: Rehearsal, line: Line) -> bool:
    same = rehearsal.same_content(line)
    if same is False and not line.replayed:
        raise IdempotencyConflict("the same idempotency key was used in an earlier line with other content")
    return same is not None


def _replace_if_version(event: MemoryEvent, version: int) -> None:
    if event.if_version != version:
        document = deserialize(event.value)
        document["if_version"] = event.if_version = version
        event.value = serialize(document)
