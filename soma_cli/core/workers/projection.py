"""What the loop drives: a projection that takes runs of a topic, and the counts of what it did with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from soma_cli.core.errors import SomaError, TooManyRejects
from soma_cli.core.ports import Run


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
    """The projection can't take these runs yet; `message` says what it waits for. Not a fault, nor counted as one."""

    default_code = "behind"


class PoisonStorm(TooManyRejects):
    """Too many records in a row were rejected. `done` counts what was passed before the stop, up to `positions`."""

    def __init__(
        self, message: str, *, hint: str, details: dict[str, Any], done: Tally, positions: Mapping[int, int]
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.done = done
        self.positions = positions


class Projection(Protocol):
    """One projection of a topic, driven by `loop.Worker` or by `catch_up`.

    `process` takes whole runs, at most one a partition, and moves the stored position of each to the run's end. It may
    be called again with the same runs after any failure, and by several processes at once. Raises ServiceUnavailable
    (try again), Behind (wait), PositionMismatch (seek), PoisonStorm (stop), Fenced (poll again).
    """

    @property
    def name(self) -> str: ...
    def positions(self) -> dict[int, int]: ...
    def process(self, runs: Sequence[Run]) -> Tally: ...


def ends_of_runs(runs: Sequence[Run]) -> dict[int, int]:
    """The position of each partition after its run."""
    return {run.partition: run.end for run in runs}
