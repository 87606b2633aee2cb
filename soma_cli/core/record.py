"""What lies in the log: records, and the positions that name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from soma_cli.core.errors import UsageError

EVENTS_TOPIC = "memory.events"
AUDIT_TOPIC = "memory.audit"
LATEST_TOPIC = "memory.latest"
REQUESTS_TOPIC = "embedding.requests"
RESPONSES_TOPIC = "embedding.responses"
DEAD_LETTER_TOPIC = "memory.dlq"

_POSITION = re.compile(r"([A-Za-z0-9._-]{1,249})/(\d{1,10})@(\d{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """One record's place: `memory.events/3@1042`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises UsageError where the text is not `topic/partition@offset`."""
        found = _POSITION.fullmatch(text)
        if not found:
            raise UsageError(
                f"{text[:80]!r} is not a position",
                hint=f"write topic/partition@offset, for example {EVENTS_TOPIC}/0@42",
            )
        return cls(found[1], int(found[2]), int(found[3]))


Headers = tuple[tuple[str, bytes | None], ...]
"""In order; a name may come again, and a value may be null."""


_MOST_DIGITS = 18
"""Of a number in a header: Python refuses to parse thousands of them, and JSON has 64 bits for it."""


def header_number(value: bytes | None) -> int | None:
    """The number that a header's value tells; None where it is none, or longer than any that soma writes."""
    return int(value) if value is not None and value.isdigit() and len(value) <= _MOST_DIGITS else None


class NewRecord(NamedTuple):
    """A record to append. A null value is a tombstone where the topic is compacted. Without `partition`, the key
    settles it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Record(NamedTuple):
    """A record as it was read. `appended_at` is the log's own time, in microseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    appended_at: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition, self.offset)

    def header(self, name: str) -> bytes | None:
        """The value of the last header of that name; None also where it is null."""
        return next((value for key, value in reversed(self.headers) if key == name), None)
