"""soma schema list, soma schema show"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from soma_cli.commands.options import FormatOption, QuietOption, output_of
from soma_cli.output import Format, table


def list_schemas(ctx: typer.Context, format: FormatOption = Format.TEXT, quiet: QuietOption = False) -> None:
    """List the schemas.

    Example: soma schema list
    """
    from soma_cli.core.schemas import schema_names

    output = output_of(ctx, format, quiet)
    output.rows(map(_summary, schema_names()), _show, lambda row: str(row["name"]))


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the schema.", metavar="NAME", show_default=False)],
) -> None:
    """Print a schema as it is shipped.

    Example: soma schema show memory.event
    """
    from soma_cli.core.schemas import schema_text

    output_of(ctx, Format.TEXT)
    sys.stdout.write(schema_text(name))


def _summary(name: str) -> dict[str, Any]:
    from soma_cli.core.schemas import schema_text, schemas_folder
    from soma_cli.core.serialization import deserialize

    document = deserialize(schema_text(name).encode())
    return {
        "name": name,
        "title": document.get("title"),
        "draft": document.get("$schema"),
        "required": document.get("required", []),
        "path": str(schemas_folder() / f"{name}.json"),
    }


def _show(rows: list[dict[str, Any]]) -> None:
    table(["name", "draft", "required"], ((row["name"], row["draft"], ", ".join(row["required"])) for row in rows))


def add_to(schema: typer.Typer) -> None:
    schema.command("list")(list_schemas)
    schema.command("show")(show)
