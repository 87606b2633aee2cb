"""soma init"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.core.errors import CheckFailed
from soma_cli.output import Format, hanging, say

if TYPE_CHECKING:
    from soma_cli.core.results import InitResult

_TOPIC = "topic "


def init(
    ctx: typer.Context,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="Accept a log that was replaced on purpose; nothing else needs this.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Make what soma needs: data folder or topics, tables, collection. What is there stays as it is.

    Embedded, `store` does it too. A topic that differs from the settings is told, with the command that would mend it.

    Example: soma init
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        result = system.admin.init(new_epoch=new_epoch)
    output.result(result, lambda: _show(result))
    if result.new_epoch:
        say(
            f"the log was replaced: its events make versions of epoch {result.epoch}, above all earlier ones. What the "
            "old log held stays in the journal and in `soma history`, but can't be rebuilt from the new log."
        )
    _check_same(result)


def _check_same(result: InitResult) -> None:
    """Raises CheckFailed where something is not as the settings say."""
    if result.differing:
        names = ", ".join(finding.check for finding in result.differing)
        raise CheckFailed(
            f"nothing was changed of what differs from the settings: {names}",
            hint="mend it with the commands above, or change the settings",
            code="differs",
        )


def _show(result: InitResult) -> None:
    if not result.created:
        print("nothing to make: everything is there already, and was left as it is")
    folder = _in_folder({*result.created, *result.existing})
    for what, names in (("made", result.created), ("there already", result.existing)):
        here, served = [name for name in names if name in folder], [name for name in names if name not in folder]
        if here:
            hanging(f"{what} in {result.data_dir}: ", ", ".join(here))
        if served:
            hanging(f"{what} on the servers: ", _on_servers(served))
    for finding in result.differing:
        hanging("differs: ", finding.message)
        hanging("         ", finding.hint)
    print(f"{'new epoch' if result.new_epoch else 'epoch'} {result.epoch} of the log, topic id {result.topic_id}")


def _in_folder(names: set[str]) -> set[str]:
    """The parts of the data folder. `access` is a file beside the store's; without that, it is a table on a server."""
    return names & ({"folder", "log", "index"} | ({"store", "access"} if "store" in names else set()))


def _on_servers(names: list[str]) -> str:
    topics = [name.removeprefix(_TOPIC) for name in names if name.startswith(_TOPIC)]
    others = [name for name in names if not name.startswith(_TOPIC)]
    counted = [f"{len(topics)} topics ({', '.join(topics)})"] if len(topics) > 1 else [f"topic {t}" for t in topics]
    return ", ".join(counted + others)


def add_to(app: typer.Typer) -> None:
    app.command("init")(init)
