"""Schemas into the registry: checked first, all of them, by soma's own checker and the registry's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from soma_cli.core.compatibility import Budget, Mode
from soma_cli.core.errors import CheckFailed, InputRejected
from soma_cli.core.operations.schema_check import Version, compare, compared
from soma_cli.core.operations.schema_load import LoadedSchema
from soma_cli.core.ports import DEFAULT_MODE, SchemaRegistry, VersionsChanged, same_schema
from soma_cli.core.schema_results import RegisterResult, SchemaRegistration, SubjectCheck, SubjectMode

SubjectOf = Callable[[str], str]
"""What a registry calls a schema."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How schemas are judged before they are registered; `mode` in place of each subject's own."""

    mode: Mode | None = None
    allow_undecided: bool = False
    budget: Budget = Budget()

    def accept(self, answer: bool | None) -> bool:
        return answer is True or (answer is None and self.allow_undecided)


def register(
    registry: SchemaRegistry, schemas: Sequence[LoadedSchema], subject_of: SubjectOf, rules: Rules
) -> RegisterResult:
    """Register the schemas that are not there yet; none of them where any is `refused`. Where another client adds a
    version meanwhile, the schema is judged again, and may be refused though others are registered by then.

    Raises InputRejected where the registry takes a schema for none.
    """
    judged = [_judged(registry, schema, subject_of(schema.name), rules) for schema in schemas]
    if not any(found.refused for found, _ in judged):
        judged = [_added(registry, schema, *one, rules) for schema, one in zip(schemas, judged, strict=True)]
    return RegisterResult(registry.where(), [found for found, _ in judged])


def _added(
    registry: SchemaRegistry, schema: LoadedSchema, found: SchemaRegistration, last: int, rules: Rules
) -> tuple[SchemaRegistration, int]:
    """What became of a schema: judged anew for as long as others are faster."""
    while found.version is None and not found.refused:
        try:
            _add(registry, schema, found, last)
        except VersionsChanged:
            found, last = _judged(registry, schema, found.subject, rules)
    return found, last


def _judged(
    registry: SchemaRegistry, schema: LoadedSchema, subject: str, rules: Rules
) -> tuple[SchemaRegistration, int]:
    """The verdict, and the last version that was there, 0 for none."""
    versions, mode = registry.versions(subject), registry.mode(subject)
    last = versions[-1].version if versions else 0
    unasked = not versions and mode is Mode.NONE and rules.mode is None
    held = rules.mode or (DEFAULT_MODE if unasked else mode)
    for version in versions:
        if same_schema(version.text, schema.text):
            check = SubjectCheck(subject, held.value, True, path=schema.shown, change="same")
            return SchemaRegistration(schema.name, subject, version.version, version.id, False, False, check), last
    old = compared(versions, held)
    check = compare(subject, Version("the new schema", schema.document), old, held, rules.budget)
    check.path = schema.shown
    found = SchemaRegistration(schema.name, subject, None, None, False, False, check, mode_set=unasked)
    if versions and (opinion := registry.opinion(subject, schema.text)) is not None:
        found.registry_compatible, found.registry_messages = opinion
    found.refused = not rules.accept(check.compatible) or found.registry_compatible is False
    return found, last


def _add(registry: SchemaRegistry, schema: LoadedSchema, found: SchemaRegistration, last: int) -> None:
    if found.mode_set:
        registry.set_mode(found.subject, DEFAULT_MODE)
    try:
        added = registry.register(found.subject, schema.text, last)
    except InputRejected as error:
        if error.code == "registry_incompatible":
            raise overruled(found.subject, error) from error
        if "$schema" not in schema.text:
            error.hint = 'add "$schema": "http://json-schema.org/draft-07/schema#": some registries go by it'
        error.message = f"{schema.shown}: {error.message}"
        raise
    found.version, found.id, found.registered = added.version, added.id, True


def overruled(subject: str, error: InputRejected) -> CheckFailed:
    """The registry refuses what soma has found compatible."""
    return CheckFailed(
        f"{error.message}; soma finds it compatible",
        hint=f"to overrule it, set the mode of {subject} to NONE with `soma schema mode`, repeat this with --mode, and "
        "set it back",
        code="registry_incompatible",
        details=error.details,
    )


def modes(registry: SchemaRegistry, names: Iterable[str], subject_of: SubjectOf) -> list[SubjectMode]:
    """The mode of each schema."""
    return [SubjectMode(name, subject_of(name), registry.mode(subject_of(name)).value) for name in names]
