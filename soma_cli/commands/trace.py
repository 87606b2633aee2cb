"""soma trace"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.output import Format, fields, hanging, printable

if TYPE_CHECKING:
    from soma_cli.core.results import TraceResult


def trace(
    ctx: typer.Context,
    event_id: Annotated[str, typer.Argument(help="Id of the event.", metavar="EVENT_ID", show_default=False)],
    format: FormatOption = Format.TEXT,
) -> None:
    """Show where an event is in every projection, with times. Applies nothing.

    Example: soma trace 01890a5d-ac96-774b-bcce-b302099a8057
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        result = system.admin.trace(event_id)
    output.result(result, lambda: _show(result))


def _show(result: TraceResult) -> None:
    fields([("event", result.event_id), ("type", result.type), ("memory", result.id)])
    width = max(len(step.state) for step in result.steps)
    for position, steps in groupby(result.steps, key=lambda step: step.position):
        print(f"\n{position}")
        for step in steps:
            print(f"  {step.where:<6}  {printable(step.state):<{width}}  {step.at or ''}".rstrip())
            if step.detail:
                hanging(" " * 10, step.detail)


def add_to(app: typer.Typer) -> None:
    app.command("trace")(trace)
