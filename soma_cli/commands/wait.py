"""soma wait"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.commands.receipts import TimeoutOption, WaitChoice
from soma_cli.output import Format

if TYPE_CHECKING:
    from soma_cli.core.results import WaitResult

PositionArgument = Annotated[
    str, typer.Argument(help="Position, as `soma store` prints it.", metavar="POSITION", show_default=False)
]


def wait(
    ctx: typer.Context,
    position: PositionArgument,
    what: Annotated[WaitChoice, typer.Option("--for", help="What has to have passed it.")] = WaitChoice.all,
    timeout: TimeoutOption = 30.0,
    format: FormatOption = Format.TEXT,
) -> None:
    """Wait until the projections have passed a position, and show what they made of its event.

    Example: soma wait memory.events/0@42 --for kv
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        result = system.wait(position, what.value, timeout)
    output.result(result, lambda: print(_sentence(result)))


def _sentence(result: WaitResult) -> str:
    outcomes = {"kv": result.outcomes.kv, "vector": result.outcomes.vector}
    known = ", ".join(f"{name} {outcome}" for name, outcome in outcomes.items() if outcome is not None)
    return f"passed {result.position}" + (f": {known}" if known else "")


def add_to(app: typer.Typer) -> None:
    app.command("wait")(wait)
