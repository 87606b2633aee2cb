"""What operations on schemas return: documented JSON shapes, like those of `results`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SchemaViolation:
    """One way in which a schema breaks another. `witness` is a document that `writer` accepts and `reader` refuses;
    `pointer` and `keyword` say which assertion of the reader's schema refuses it. Against the log, the reader is the
    schema, `witness` the first event that it refuses there (null after 20 places), `count` how many, `positions` where
    the first of them lie. Where the pointer leads to another file that a `$ref` names, `file` and `file_pointer` say
    where it is there."""

    pointer: str
    keyword: str
    message: str
    witness: Any
    writer: str
    reader: str
    count: int | None = None
    positions: list[str] = field(default_factory=list)
    file: str | None = None
    file_pointer: str | None = None


@dataclass(slots=True)
class SchemaDoubt:
    """What could be neither proved nor broken. `pointer` points into the schema that has it; `file` and
    `file_pointer` as in SchemaViolation."""

    pointer: str
    message: str
    writer: str
    reader: str
    file: str | None = None
    file_pointer: str | None = None


@dataclass(slots=True)
class SubjectCheck:
    """One schema. `compatible` is null where that could not be decided; `against` names what it was compared with,
    nothing where there is nothing yet. `change` is `same`, `changed`, `added`, `deleted` or `renamed`. Against the log,
    `events` were read, and `refused` of them are not accepted by the schema. `note` says what the schema was
    renamed to, that its mode was another one, or that the registry's own verdict is another."""

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
class RefusedSchema:
    """A schema that could not be compared with anything: it is none, or refers to what is not there. `code` and
    `pointer` as in the error that a check of it alone ends with."""

    name: str
    message: str
    hint: str
    code: str
    pointer: str | None


@dataclass(slots=True)
class SchemaCheck:
    """`compatible` is false if that is so of any subject, else null if it is so of any, or if any schema is `refused`.
    `folder` is where the schemas lie, null for files and for the log; `folder_origin` is `asked` (by option or
    setting), `here` or `shipped`. `ignored`: files there that are no schemas by their names or places, and that no
    schema refers to. `compared` counts the schemas that there was anything to compare with; where that is none, the
    `missing` are those that the registry is expected to have."""

    compatible: bool | None
    subjects: list[SubjectCheck]
    folder: str | None = None
    folder_origin: str | None = None
    against: str = ""
    ignored: list[str] = field(default_factory=list)
    compared: int = 0
    missing: list[str] = field(default_factory=list)
    refused: list[RefusedSchema] = field(default_factory=list)


@dataclass(slots=True)
class SchemaRegistration:
    """A schema in the registry. `registered` is true where the version was added now, `version` null where it was not:
    then it or another one is `refused`, by `check` or, as `registry_compatible` and `registry_messages` tell, by the
    registry itself. `mode_set`: the registry asks for nothing, and the subject is given soma's mode."""

    name: str
    subject: str
    version: int | None
    id: int | None
    registered: bool
    refused: bool
    check: SubjectCheck
    registry_compatible: bool | None = None
    registry_messages: list[str] = field(default_factory=list)
    mode_set: bool = False


@dataclass(slots=True)
class RegisterResult:
    """`registry` says which. Nothing is registered where any schema is refused."""

    registry: str
    schemas: list[SchemaRegistration]


@dataclass(slots=True)
class VersionCopy:
    """A version of the one registry and the number that it has, or will have, in the other. `copied` is true where it
    was added now; `refused` where it may not be, by `check` or, as `registry_compatible` tells, by the other registry,
    which is asked of the first that it lacks. `passed_over` where it is older than one that is there; then `becomes` is
    null."""

    version: int
    becomes: int | None
    there: bool
    check: SubjectCheck | None = None
    copied: bool = False
    refused: bool = False
    registry_compatible: bool | None = None
    passed_over: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it is to be copied, or was."""
        return not self.there and not self.passed_over


@dataclass(slots=True)
class SubjectPromotion:
    """The versions of one schema, oldest first. `mode` is that of the subject promoted to; `mode_set`: it has none, and
    is given this one. `only_there` are versions that the registry promoted from does not have."""

    name: str
    source_subject: str
    subject: str
    mode: str
    mode_set: bool
    versions: list[VersionCopy]
    only_there: list[int] = field(default_factory=list)


@dataclass(slots=True)
class PromotionPlan:
    """`compatible` is false if a version that is to be copied breaks what is there, else null if that is undecided."""

    source: str
    target: str
    compatible: bool | None
    schemas: list[SubjectPromotion]
    executed: bool = False
    copied: int = 0


@dataclass(slots=True)
class SubjectMode:
    """The compatibility mode that holds for a schema."""

    name: str
    subject: str
    mode: str


@dataclass(slots=True)
class SchemaSummary:
    """`version` is the last one released in the folder, null for none; `change` says how the working version differs
    from it: `same`, `changed`, `added` or `deleted`; `problem` why it is no schema, where it is none."""

    name: str
    title: str | None
    draft: str | None
    required: list[str]
    path: str
    version: int | None
    mode: str
    change: str
    problem: str = ""


@dataclass(slots=True)
class RegisteredSubject:
    """A subject of the registry: its last version, and that one's id where the registry gives any."""

    subject: str
    version: int
    id: int | None
    mode: str


@dataclass(slots=True)
class SchemaChange:
    """One change, by its pointer: `added`, `removed` or `changed`. `backward`: with this change alone, is all that was
    written before still accepted; `forward`: does the old schema accept all that is written now; null where that could
    not be decided, and `note` says why. `witnesses` has a document for each way that breaks.
    """

    pointer: str
    change: str
    old: Any
    new: Any
    backward: bool | None = None
    forward: bool | None = None
    witnesses: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(slots=True)
class SchemaDiff:
    """The changes from `old` to `new`; `backward` and `forward` are the verdicts on all of them together."""

    old: str
    new: str
    changes: list[SchemaChange]
    backward: bool | None
    forward: bool | None
