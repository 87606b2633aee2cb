"""soma schema list, soma schema show"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, QuietOption, output_of
from soma_cli.commands.schema_options import SchemasOption, open_schemas
from soma_cli.commands.schema_report import left_out
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, say, table, visible

if TYPE_CHECKING:
    from soma_cli.core.governance import Governance
    from soma_cli.core.schema_results import RegisteredSubject, SchemaSummary

RegistryOption = Annotated[bool, typer.Option("--registry", help="Ask the registry, not the folder.")]


def list_schemas(
    ctx: typer.Context,
    registry: RegistryOption = False,
    schemas: SchemasOption = None,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """List the schemas of the folder, or the subjects of the registry, with their last versions.

    Example: soma schema list
    """
    output = output_of(ctx, format, quiet)
    with open_schemas(ctx, schemas) as governance:
        if registry:
            output.rows(governance.registered(), _show_registered, lambda row: str(row.subject))
            return
        output.rows(governance.summaries(), _show, lambda row: str(row.name))
        if format is Format.TEXT and not quiet:
            say(f"soma: the schemas of {governance.folder.description}")
        if nameless := governance.nameless():
            say(f"soma: {left_out(nameless)}")


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the schema.", metavar="NAME", show_default=False)],
    version: Annotated[
        int | None,
        typer.Option("--version", help="A version that was released, not the working one.", min=1, show_default=False),
    ] = None,
    registry: RegistryOption = False,
    schemas: SchemasOption = None,
) -> None:
    """Print a schema as it is in its file, or a version of it as it was released or registered.

    Example: soma schema show memory.event

    Example: soma schema show memory.event --registry
    """
    output_of(ctx, Format.TEXT)
    with open_schemas(ctx, schemas) as governance:
        text = _text(governance, name, version, registry)
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _text(governance: Governance, name: str, version: int | None, registry: bool) -> str:
    if registry or version is not None:
        return governance.version(name, version=version, registered=registry).text
    path: Path = governance.path(*governance.names(name))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="check that it is a text file of yours") from error


def _show(rows: list[SchemaSummary]) -> None:
    table(
        ["name", "version", "mode", "working version", "draft", "required"],
        ([row.name, row.version, row.mode, _state(row), _draft(row), ", ".join(row.required)] for row in rows),
        right=[1],
    )
    for row in rows:
        if row.problem:
            say(f"soma: {visible(row.problem)}")


def _state(row: SchemaSummary) -> str:
    if row.problem:
        return "no schema"
    return {"same": "released", "added": "not released", "deleted": "gone"}.get(row.change, row.change)


def _draft(row: SchemaSummary) -> str | None:
    return row.draft and row.draft.removeprefix("http://json-schema.org/").removesuffix("/schema#")


def _show_registered(rows: list[RegisteredSubject]) -> None:
    table(
        ["subject", "version", "id", "mode"],
        ([row.subject, row.version, row.id, row.mode] for row in rows),
        right=[1, 2],
    )


def add_to(schema: typer.Typer) -> None:
    schema.command("list")(list_schemas)
    schema.command("show")(show)
