"""soma get"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, IdArgument, QuietOption, open_system, output_of, say_instants
from soma_cli.output import Format, fields, pretty_json

if TYPE_CHECKING:
    from soma_cli.core.results import Memory


def get(
    ctx: typer.Context,
    id: IdArgument,
    at: Annotated[
        str | None, typer.Option("--at", help="As it was known at a time or position.", metavar="TIME|POSITION")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read past any cache.")] = False,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Show a memory, now or as it was known before.

    Example: soma get 01890a5d-ac96-774b-bcce-b302099a8057 --at memory.events/0@42
    """
    output = output_of(ctx, format, quiet)
    say_instants(output, at)
    with open_system(ctx, one_shot=True) as system:
        memory = system.fetch(id, at=at, fresh=fresh)
    output.result(memory, lambda: show_memory(memory), [memory.id])


def show_memory(memory: Memory) -> None:
    fields(
        [
            ("id", memory.id),
            ("namespace", memory.namespace),
            ("importance", f"{memory.importance:g}"),
            ("created", memory.created_at),
            ("updated", memory.updated_at),
            ("last read", f"{memory.last_access} ({memory.access_count} times)" if memory.last_access else "never"),
            ("version", memory.version),
            ("event", memory.last_event_id),
            ("model", memory.model_revision),
            ("payload", pretty_json(memory.payload)),
        ]
    )


def add_to(app: typer.Typer) -> None:
    app.command("get")(get)
