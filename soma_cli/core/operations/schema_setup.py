"""What `init` and `doctor` have to do with the registry: the schema of events, under the topic's subject."""

from __future__ import annotations

from collections.abc import Sequence

from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import DEFAULT_MODE, Provisioned, RegisteredSchema, SchemaRegistry, same_schema
from soma_cli.core.results import Finding
from soma_cli.core.schemas import EVENT_SCHEMA, schema_text, subject_of
from soma_cli.core.settings import Settings

_ADD = f"`soma schema check {EVENT_SCHEMA} --against registry` tells whether it breaks, `soma schema register` adds it"


def provision(registry: SchemaRegistry, settings: Settings) -> Provisioned:
    """Register the schema that ships with soma where the subject has no version yet; else leave it as it is."""
    subject = subject_of(EVENT_SCHEMA, settings)
    name = f"schema {subject}"
    try:
        versions = registry.versions(subject)
        if versions:
            return Provisioned([], [name], _differing(subject, versions))
        if registry.mode(subject) is Mode.NONE:
            registry.set_mode(subject, DEFAULT_MODE)
        registry.register(subject, schema_text(EVENT_SCHEMA))
    except ServiceUnavailable as error:
        error.hint = f"{error.hint}; all else is made. Without a registry, set registry.kind to files"
        raise
    return Provisioned([name], [], [])


def findings(registry: SchemaRegistry, settings: Settings) -> list[Finding]:
    """Whether the schema of events is there, is soma's own, and is guarded."""
    subject = subject_of(EVENT_SCHEMA, settings)
    versions, mode = registry.versions(subject), registry.mode(subject)
    if not versions:
        severity = "error" if settings.registry.validate == "latest" else "warning"
        message = f"{subject} is not in {registry.where()}"
        return [Finding("registry", severity, message, "`soma init` registers it")]
    found = _differing(subject, versions) or [Finding("registry", "ok", _described(registry, versions, mode))]
    if mode is Mode.NONE:
        hint = f"`soma schema mode {EVENT_SCHEMA} {DEFAULT_MODE}` has new versions checked"
        found.append(Finding("registry", "warning", f"any version of {subject} is let in: its mode is NONE", hint))
    return found


def _differing(subject: str, versions: Sequence[RegisteredSchema]) -> list[Finding]:
    if _own(versions) is not None:
        return []
    message = f"none of the {len(versions)} versions of {subject} is the schema that ships with soma"
    return [Finding("registry", "warning", message, _ADD)]


def _own(versions: Sequence[RegisteredSchema]) -> RegisteredSchema | None:
    """The version that ships with this soma."""
    shipped = schema_text(EVENT_SCHEMA)
    return next((one for one in versions if same_schema(one.text, shipped)), None)


def _described(registry: SchemaRegistry, versions: Sequence[RegisteredSchema], mode: Mode) -> str:
    own, last = _own(versions), versions[-1]
    assert own is not None
    which = "is soma's own" if own == last else f"is the latest, version {own.version} is soma's own"
    return f"version {last.version} of {last.subject} {which}; mode {mode}; at {registry.where()}"
