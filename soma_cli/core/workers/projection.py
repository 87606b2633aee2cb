"""What the loop drives: a projection that takes runs of the log, and the counts of what it did with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from soma_cli.core.errors import SomaError, TooManyRejects
from soma_cli.core.record import Record


@dataclass(slots=True)
class Tally:
    """Records by what became of them; `read` counts them all."""

    read: int = 0
    applied: int = 0
    duplicate: int = 0
    ignored: int = 0
    rejected: int = 0
    redelivered: int = 0

    def add(self, other: Tally) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Behind(SomaError):
    """The projection can't take this run yet; `message` says what it waits for. Not a fault, and not counted as one."""

    default_code = "behind"


class PoisonStorm(TooManyRejects):
    """Too many records in a row were rejected. `done` counts what was passed before the stop, at offset `position`."""

    def __init__(self, message: str, *, hint: str, details: dict[str, Any], done: Tally, position: int) -> None:
        super().__init__(message, hint=hint, details=details)
        self.done = done
        self.position = position


class Projection(Protocol):
    """One projection of `memory.events`, driven by `loop.run` or by `catch_up`.

    `process` takes every record of [start, end) of one partition and moves the stored position to `end`. It may be
    called again with the same run after any failure, and by several processes at once. Raises ServiceUnavailable
    (try again), Behind (wait), PositionMismatch (seek), PoisonStorm (stop).
    """

    @property
    def name(self) -> str: ...
    def positions(self) -> dict[int, int]: ...
    def process(self, partition: int, start: int, end: int, records: Sequence[Record]) -> Tally: ...
