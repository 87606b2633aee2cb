"""What operations on schemas return: documented JSON shapes, like those of `results`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SchemaViolation:
    """One way in which a schema breaks another. `witness` is a document that `writer` accepts and `reader` refuses;
    `pointer` and `keyword` say which assertion of the reader's schema refuses it. Against the log, the reader is the
    schema, `witness` the first event that it refuses there, `count` how many, `positions` where the first of them lie.
    """

    pointer: str
    keyword: str
    message: str
    witness: Any
    writer: str
    reader: str
    count: int | None = None
    positions: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SchemaDoubt:
    """What could be neither proved nor broken. `pointer` points into the schema that has it."""

    pointer: str
    message: str
    writer: str
    reader: str


@dataclass(slots=True)
class SubjectCheck:
    """One schema. `compatible` is null where that could not be decided; `against` names what it was compared with,
    nothing where there is nothing yet. `change` is `same`, `changed`, `added`, `deleted` or `renamed`. Against the log,
    `events` were read, and `refused` of them are not accepted by the schema."""

    subject: str
    mode: str
    compatible: bool | None
    violations: list[SchemaViolation] = field(default_factory=list)
    undecided: list[SchemaDoubt] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    path: str | None = None
    change: str = "changed"
    note: str = ""
    events: int | None = None
    refused: int | None = None


@dataclass(slots=True)
class SchemaCheck:
    """`compatible` is false if that is so of any subject, else null if it is so of any."""

    compatible: bool | None
    subjects: list[SubjectCheck]
    folder: str | None = None
    against: str = ""
