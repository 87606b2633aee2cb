"""Which schemas there are, in a folder and in a registry."""

from __future__ import annotations

from typing import Any

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.operations.schema_load import Fetch, load_schema
from soma_cli.core.ports import RegisteredSchema, SchemaFiles, SchemaRegistry, same_schema
from soma_cli.core.schema_results import RegisteredSubject, SchemaSummary
from soma_cli.core.schemas import released_versions, working_names, working_path


def summaries(files: SchemaFiles, released: SchemaRegistry, fetch: Fetch | None) -> list[SchemaSummary]:
    """Every schema of a folder; one that is none says why, and hinders no other."""
    paths = files.paths()
    there = working_names(paths)
    return [
        _summary(name, name in there, files, released, fetch) for name in sorted({*there, *released_versions(paths)})
    ]


def _summary(
    name: str, is_there: bool, files: SchemaFiles, released: SchemaRegistry, fetch: Fetch | None
) -> SchemaSummary:
    path = working_path(name)
    last = released.latest(name)
    version = None if last is None else last.version
    found = SchemaSummary(
        name,
        None,
        None,
        [],
        files.shown(path),
        version,
        released.mode(name).value,
        "added" if last is None else "deleted",
    )
    if is_there:
        try:
            schema = load_schema(files, path, fetch)
        except (InputRejected, UsageError) as error:
            found.change, found.problem = "changed", error.message
            return found
        _describe(found, schema.document)
        if last is not None:
            found.change = "same" if same_schema(last.text, schema.text) else "changed"
    return found


def _describe(found: SchemaSummary, document: Any) -> None:
    if isinstance(document, dict):
        found.title, found.draft = document.get("title"), document.get("$schema")
        found.required = document.get("required", [])


def registered(registry: SchemaRegistry) -> list[RegisteredSubject]:
    """The last version of every subject of a registry."""
    found = ((subject, registry.latest(subject)) for subject in registry.subjects())
    return [
        RegisteredSubject(subject, last.version, last.id, registry.mode(subject).value)
        for subject, last in found
        if last is not None
    ]


def version_of_schema(registry: SchemaRegistry, subject: str, version: int | None) -> RegisteredSchema:
    """One version, the last one unless numbered. Raises NotFound."""
    there = registry.versions(subject)
    for one in there:
        if one.version == version or (version is None and one is there[-1]):
            return one
    if not there:
        raise NotFound(
            f"there is no version of {subject} in {registry.where()}", hint="see `soma schema list --registry`"
        )
    numbers = ", ".join(str(one.version) for one in there)
    raise NotFound(
        f"there is no version {version} of {subject} in {registry.where()}", hint=f"the versions are: {numbers}"
    )
