"""soma list"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    MOST,
    FormatOption,
    NamespaceOption,
    QuietOption,
    open_system,
    output_of,
    say_instants,
)
from soma_cli.output import Format, one_line, table

if TYPE_CHECKING:
    from soma_cli.core.results import Memory


def list_memories(
    ctx: typer.Context,
    namespace: NamespaceOption = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Changed since then: a time, or -24h.", metavar="TIME")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", help="Most to show.", min=1, max=MOST)] = 20,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """List memories, newest first.

    Example: soma list --namespace travel --since -24h
    """
    output = output_of(ctx, format, quiet)
    say_instants(output, since)
    with open_system(ctx, one_shot=True) as system:
        memories = system.list_memories(namespace=namespace, since=since, limit=limit)
    output.rows(memories, _show, lambda memory: memory.id)


def _show(memories: list[Memory]) -> None:
    table(
        ["id", "namespace", "updated", "importance", "payload"],
        ((m.id, m.namespace, m.updated_at[:19] + "Z", f"{m.importance:g}", one_line(m.payload)) for m in memories),
        right=[3],
    )


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_memories)
