"""soma schema diff"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soma_cli.commands.options import FormatOption, output_of
from soma_cli.commands.schema_options import AllowRemoteOption, SchemasOption, is_file, open_schemas
from soma_cli.commands.schema_report import shortened, show_witness
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, hanging, printable, progress, visible

if TYPE_CHECKING:
    from soma_cli.core.governance import Governance
    from soma_cli.core.operations.schema_check import Version
    from soma_cli.core.schema_results import SchemaChange, SchemaDiff

_MARKS = {"added": "+", "removed": "-", "changed": "~"}
_WAYS = (
    ("backward", "BACKWARD", "the old schema accepts, the new refuses"),
    ("forward", "FORWARD", "the new schema accepts, the old refuses"),
)
_VALUE = 160


def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(help="Name of a schema, or the older file.", metavar="NAME|OLD")],
    new: Annotated[
        str | None, typer.Argument(help="The newer file; left out with a name.", metavar="NEW", show_default=False)
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", help="The released version to compare with, not the last.", min=1, show_default=False
        ),
    ] = None,
    registry: Annotated[
        bool, typer.Option("--registry", help="Compare with the registry's version, not the folder's.")
    ] = False,
    schemas: SchemasOption = None,
    allow_remote: AllowRemoteOption = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show what changed in a schema since a version of it, or between two files, and which way each change breaks.

    BACKWARD breaks where the new schema refuses what the old one accepts, FORWARD the other way round; each change is
    checked alone, with a witness where it breaks, and then all of them together.

    Example: soma schema diff memory.event

    Example: soma schema diff OLD.json NEW.json
    """
    output = output_of(ctx, format)
    with open_schemas(ctx, schemas, allow_remote=allow_remote) as governance:
        sides = _sides(governance, old, new, version, registry)
        with progress("changes") as advance:
            result = governance.diff(*sides, advance)
    output.result(result, lambda: _show(result))


def _sides(
    governance: Governance, old: str, new: str | None, version: int | None, registry: bool
) -> tuple[Version, Version]:
    from soma_cli.core.operations.schema_check import Version
    from soma_cli.core.operations.schema_load import parse_schema

    if new is not None:
        if version is not None or registry:
            raise UsageError("two files have no versions", hint="leave --version and --registry out, or NEW")
        files = [governance.file(Path(word)) if is_file(word) else governance.schema(word) for word in (old, new)]
        return Version(files[0].shown, files[0].document), Version(files[1].shown, files[1].document)
    if is_file(old):
        raise UsageError(
            f"{old} is compared with nothing", hint=f"name the newer file: soma schema diff {old} NEW.json"
        )
    there, working = governance.version(old, version=version, registered=registry), governance.schema(old)
    label = f"version {there.version}"
    return Version(label, parse_schema(old, there.text, label).document), Version(working.shown, working.document)


def _show(result: SchemaDiff) -> None:
    sys.stdout.write(f"{visible(result.old)} -> {visible(result.new)}\n")
    for change in result.changes:
        _show_change(change)
    if not result.changes:
        sys.stdout.write("nothing that a schema says has changed\n")
        return
    ways = ", ".join(f"{name} {_answer(getattr(result, way))}" for way, name, _ in _WAYS)
    sys.stdout.write(f"together: {ways}\n")


def _show_change(change: SchemaChange) -> None:
    place = printable(change.pointer) or "the whole schema"
    hanging(f"{_MARKS[change.change]} {place}  ", f"{_what(change)} {_verdicts(change)}")
    for way, _, label in _WAYS:
        if way in change.witnesses:
            show_witness(label, change.witnesses[way])


def _verdicts(change: SchemaChange) -> str:
    broken = [name for way, name, _ in _WAYS if getattr(change, way) is False]
    unknown = [name for way, name, _ in _WAYS if getattr(change, way) is None]
    said = [f"breaks {' and '.join(broken)}"] if broken else [] if unknown else ["breaks nothing"]
    said += [f"{' and '.join(unknown)} undecided: {change.note}"] if unknown else []
    return f"({'; '.join(said)})"


def _what(change: SchemaChange) -> str:
    if change.change == "changed":
        return f"{_value(change.old)} -> {_value(change.new)}"
    return _value(change.new if change.change == "added" else change.old)


def _value(value: Any) -> str:
    text = shortened(value)
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}…"


def _answer(answer: bool | None) -> str:
    return {True: "compatible", False: "breaks", None: "undecided"}[answer]


def add_to(schema: typer.Typer) -> None:
    schema.command("diff")(diff)
