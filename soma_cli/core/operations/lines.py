"""Lines of JSON to events: payloads with what else is known, whole events, or what `replay` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from soma_cli.core.errors import EventRejected, InputRejected, SomaError, UsageError
from soma_cli.core.event import MemoryEvent
from soma_cli.core.eventing.producer import Draft, build_event, check_event
from soma_cli.core.memory import EventKey
from soma_cli.core.results import Reject
from soma_cli.core.serialization import deserialize
from soma_cli.core.settings import LimitSettings
from soma_cli.core.text import resolve

_MOST_REJECTS_KEPT = 1000
_DRAFT_FIELDS = frozenset((
    "payload", "type", "id", "namespace", "importance", "embedding", "model_revision", "timestamp", "event_id",
    "if_version", "reason", "actor",
))  # fmt: skip
_NOTHING: frozenset[str] = frozenset()
_TIMESTAMP = frozenset(["timestamp"])


class AwaitedVersion(NamedTuple):
    """What the `if_version` of a replayed event means, in words that hold in every log: the event that made that
    version of the memory. None: no event made it, so that the replayed one was ignored."""

    event_id: str | None


class Line(NamedTuple):
    """One good line. `settled` events carry their own event_id, so an earlier run may have appended them; `filled_in`
    names fields that the line did not give."""

    number: int
    event: MemoryEvent
    settled: bool
    filled_in: frozenset[str]
    replayed: bool = False
    awaits: AwaitedVersion | None = None

    @property
    def key(self) -> EventKey:
        return self.event.id, self.event.event_id

    @property
    def awaited_key(self) -> EventKey | None:
        if self.awaits is None or self.awaits.event_id is None:
            return None
        return self.event.id, self.awaits.event_id


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
        return Line(number, event, settled, _NOTHING if "timestamp" in document else _TIMESTAMP)

    def _replayed(self, number: int, line: dict[str, Any]) -> Line:
        if not isinstance(line["event"], dict):
            raise EventRejected("this record of the log is no event", pointer="/event", code="schema")
        event = check_event(line["event"], self._limits)
        return Line(number, event, True, _NOTHING, True, _awaited(event, line))

    def _draft(self, document: dict[str, Any]) -> Draft:
        if "payload" not in document:
            raise EventRejected(
                "the line has no payload", pointer="/payload", hint='write {"payload": {...}}', code="schema"
            )
        given = {name: value for name, value in document.items() if name in _DRAFT_FIELDS and value is not None}
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


def _awaited(event: MemoryEvent, line: dict[str, Any]) -> AwaitedVersion | None:
    """What a replayed event waits for. A version names a place in one log, so the line must name the event."""
    if event.if_version is None or event.if_version < 0:
        return None
    event_id = line.get("if_event_id", "")
    if event_id is None:
        return AwaitedVersion(None)
    if not isinstance(event_id, str) or not event_id:
        raise EventRejected(
            f"the event waits for version {event.if_version} of another log, and the line has no if_event_id",
            pointer="/if_event_id",
            hint="print the lines anew with `soma replay -o jsonl`",
            code="if_version",
        )
    return AwaitedVersion(event_id.lower())
