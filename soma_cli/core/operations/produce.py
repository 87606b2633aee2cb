"""Bulk: JSON Lines to events, each validated by itself, appended in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from soma_cli.core.errors import EventRejected, InputRejected, SomaError, UsageError
from soma_cli.core.event import MemoryEvent, offset_of, version_of
from soma_cli.core.eventing.producer import Draft, append_events, build_event, check_event
from soma_cli.core.operations.write import Compared, check_same_content, earlier_positions
from soma_cli.core.ports import Appended, EventLog, MemoryStore
from soma_cli.core.results import ProduceResult, Reject
from soma_cli.core.serialization import deserialize, serialize
from soma_cli.core.settings import LimitSettings
from soma_cli.core.text import resolve

_BATCH = 500
_MOST_REJECTS_KEPT = 1000
# In a whole log, what waits for a version that no line has was ignored, and must be ignored here too.
_NEVER = version_of(8191, (1 << 40) - 1)
_DRAFT_FIELDS = ("payload", "type", "id", "namespace", "importance", "embedding", "model_revision", "timestamp",
                 "event_id", "if_version", "reason", "actor")  # fmt: skip


class Line(NamedTuple):
    """One good line. `settled` events carry their own event_id, so an earlier run may have appended them;
    `replayed` is the version that a line of `replay` had in the log it came from."""

    number: int
    event: MemoryEvent
    settled: bool
    has_timestamp: bool
    replayed: int | None


class LineReader:
    """Turns lines into events; what is wrong with a line is counted and kept, and reading goes on."""

    def __init__(self, limits: LimitSettings, namespace: str | None, key: str | None) -> None:
        if key is not None and not key.startswith("/"):
            raise UsageError(f"--key {key!r} is not a JSON pointer", hint="write for example /payload/name")
        self.rejects: list[Reject] = []
        self.rejected = 0
        self._limits = limits
        self._namespace = namespace
        self._key = key

    def read(self, lines: Iterable[bytes]) -> Iterator[Line]:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                yield self._line(number, text)
            except SomaError as error:
                self.reject(number, error)

    def reject(self, number: int, error: SomaError) -> None:
        self.rejected += 1
        if len(self.rejects) < _MOST_REJECTS_KEPT:
            pointer = error.pointer if isinstance(error, InputRejected) else None
            self.rejects.append(Reject(number, error.code, pointer, error.message))

    def _line(self, number: int, text: bytes) -> Line:
        document = deserialize(text.strip())
        if not isinstance(document, dict):
            raise EventRejected("the line is not a JSON object", pointer="", code="schema")
        if "event" in document and "position" in document:
            return self._replayed(number, document)
        settled = "event_id" in document or self._key is not None
        event = build_event(self._draft(document), self._limits)
        return Line(number, event, settled, "timestamp" in document, None)

    def _replayed(self, number: int, line: dict[str, Any]) -> Line:
        if not isinstance(line["event"], dict):
            raise EventRejected("this record of the log is no event", pointer="/event", code="schema")
        version = line.get("version")
        event = check_event(line["event"], self._limits)
        return Line(number, event, True, True, version if isinstance(version, int) else None)

    def _draft(self, document: dict[str, Any]) -> Draft:
        if "payload" not in document:
            raise EventRejected(
                "the line has no payload", pointer="/payload", hint='write {"payload": {...}}', code="schema"
            )
        given = {name: document[name] for name in _DRAFT_FIELDS if document.get(name) is not None}
        if self._namespace is not None:
            given.setdefault("namespace", self._namespace)
        draft = Draft(given.pop("payload", None), **given)
        draft.extra = {name: value for name, value in document.items() if name not in _DRAFT_FIELDS}
        if not isinstance(draft.namespace, str):
            raise EventRejected("namespace is not a string", pointer="/namespace", code="schema")
        draft.key = self._key_of(document)
        return draft

    def _key_of(self, document: dict[str, Any]) -> str | None:
        if self._key is None:
            return None
        value = resolve(document, self._key)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise EventRejected(f"there is no string or integer at {self._key}", pointer=self._key, code="key")
        return str(value)


def produce(
    log: EventLog,
    store: MemoryStore,
    reader: LineReader,
    lines: Iterable[bytes],
    *,
    epoch: int,
    rehearse: bool = False,
    progress: Callable[[int], None] = lambda lines: None,
) -> ProduceResult:
    """Append the event of every good line; what an earlier run appended is not appended again.

    The journal must be up to date. `progress` is told how many more lines are done. To `rehearse` is to find out which
    lines would be rejected, and append nothing.
    """
    run = _Run(log, store, reader, epoch, rehearse=rehearse)
    batch: list[Line] = []
    done = 0
    for line in reader.read(lines):
        # What this event waits for may be in the batch: its version is known only once that is appended.
        if line.event.if_version is not None and line.replayed is not None and batch:
            run.append(batch)
            batch = []
        batch.append(line)
        if len(batch) >= _BATCH:
            run.append(batch)
            progress(line.number - done)
            batch, done = [], line.number
    run.append(batch)
    run.result.rejected, run.result.rejects = reader.rejected, reader.rejects
    return run.result


class _Run:
    """One bulk run: its result so far, and which versions replayed events got here."""

    def __init__(self, log: EventLog, store: MemoryStore, reader: LineReader, epoch: int, *, rehearse: bool) -> None:
        self.result = ProduceResult()
        self._rehearse = rehearse
        self._log = log
        self._store = store
        self._reader = reader
        self._epoch = epoch
        self._versions: dict[int, int] = {}
        self._from_beginning = False

    def append(self, lines: list[Line]) -> None:
        fresh = self._fresh([line for line in lines if self._translated(line)])
        if not fresh:
            return
        if self._rehearse:
            self.result.accepted += len(fresh)
            for line in fresh:
                self._remember(line, offset_of(line.replayed or 0))
            return
        appended = append_events(self._log, [line.event for line in fresh])
        for line, receipt in zip(fresh, appended, strict=True):
            self._remember(line, receipt.position.offset)
        self._count(appended)

    def _count(self, appended: list[Appended]) -> None:
        result = self.result
        result.accepted += len(appended)
        result.appended += len(appended)
        result.first_position = result.first_position or str(appended[0].position)
        result.last_position = str(appended[-1].position)

    def _fresh(self, lines: list[Line]) -> list[Line]:
        settled = [line.event for line in lines if line.settled]
        earlier = earlier_positions(self._store, settled) if settled else {}
        return [line for line in lines if not self._is_earlier(line, earlier)]

    def _is_earlier(self, line: Line, earlier: dict[Any, Any]) -> bool:
        found = earlier.get((line.event.id, line.event.event_id)) if line.settled else None
        if found is None:
            return False
        try:
            check_same_content(line.event, found, Compared(importance=True, timestamp=line.has_timestamp))
        except SomaError as error:
            self._reader.reject(line.number, error)
            return True
        self._remember(line, found.position.offset)
        self.result.accepted += 1
        self.result.duplicates += 1
        return True

    def _remember(self, line: Line, offset: int) -> None:
        if line.replayed is not None:
            self._from_beginning = self._from_beginning or offset_of(line.replayed) == 0
            self._versions[line.replayed] = version_of(self._epoch, offset)

    def _translated(self, line: Line) -> bool:
        """A version names a place in one log: an event from another log that waits for one gets this log's."""
        wanted = line.event.if_version
        if line.replayed is None or wanted is None or wanted < 0:
            return True
        here = self._versions.get(wanted, _NEVER if self._from_beginning else None)
        if here is None:
            problem = f"if_version {wanted} names an event that is not among these lines"
            self._reader.reject(line.number, EventRejected(problem, pointer="/event/if_version", code="if_version"))
            return False
        if here != wanted:
            _replace_if_version(line.event, here)
        return True


def _replace_if_version(event: MemoryEvent, version: int) -> None:
    document = deserialize(event.value)
    document["if_version"] = event.if_version = version
    event.value = serialize(document)
