"""What a comparison of two schemas says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """Which way a new version must agree with older ones; TRANSITIVE means with all of them, not only with the last.

    BACKWARD: what was written with the old schema can be read with the new. FORWARD: what is written with the new one
    can be read with the old. FULL: both. NONE: nothing is asked.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which the schemas break each other.

    `witness` is a document that the writer's schema accepts and the reader's refuses: both were asked before it was
    put here. `pointer` (a JSON pointer into the reader's schema) and `keyword` say which assertion refuses it.
    """

    pointer: str
    keyword: str
    message: str
    witness: Any


@dataclass(frozen=True, slots=True)
class Undecided:
    """What the checker could neither prove nor break. `pointer` points into the schema that has it."""

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`compatible` is None where it could not be decided: then `undecided` says what stopped it."""

    compatible: bool | None
    violations: list[Violation] = field(default_factory=list)
    undecided: list[Undecided] = field(default_factory=list)
