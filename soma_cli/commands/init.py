"""soma init"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.output import Format, say

if TYPE_CHECKING:
    from soma_cli.core.results import InitResult


def init(
    ctx: typer.Context,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="Accept a log that was replaced on purpose; nothing else needs this.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Make the data folder, the log, the store and the index. What is there stays as it is; `store` does it too.

    Example: soma init
    """
    output = output_of(ctx, format)
    with open_system(ctx) as system:
        result = system.admin.init(new_epoch=new_epoch)
    output.result(result, lambda: _show(result))
    if result.new_epoch:
        say(
            f"the log was replaced: its events make versions of epoch {result.epoch}, above all earlier ones. What the "
            "old log held stays in the journal and in `soma history`, but can't be rebuilt from the new log."
        )


def _show(result: InitResult) -> None:
    if result.created:
        print(f"made in {result.data_dir}: {', '.join(result.created)}")
    if result.existing:
        print(f"there already{'' if result.created else f' in {result.data_dir}'}: {', '.join(result.existing)}")
    print(f"{'new epoch' if result.new_epoch else 'epoch'} {result.epoch} of the log, topic id {result.topic_id}")


def add_to(app: typer.Typer) -> None:
    app.command("init")(init)
