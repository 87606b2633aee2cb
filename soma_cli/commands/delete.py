"""soma delete"""

from __future__ import annotations

from typing import Annotated

import typer

from soma_cli.commands.options import FormatOption, IdArgument, QuietOption, open_system, output_of
from soma_cli.commands.receipts import TimeoutOption, WaitOption, receipt_shown, show_receipt
from soma_cli.commands.store import ActorOption, KeyOption
from soma_cli.commands.update import IfVersionOption
from soma_cli.output import Format


def delete(
    ctx: typer.Context,
    id: IdArgument,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the event and shown by `get`.")] = None,
    if_version: IfVersionOption = None,
    idempotency_key: KeyOption = None,
    actor: ActorOption = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 30.0,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Forget a memory. Its past stays in the log and in `soma history`.

    Example: soma delete 01890a5d-ac96-774b-bcce-b302099a8057 --reason "asked by the user"
    """
    output = output_of(ctx, format, quiet)
    with open_system(ctx, one_shot=True) as system, receipt_shown(output):
        receipt = system.delete(
            id,
            reason=reason,
            actor=actor,
            if_version=if_version,
            idempotency_key=idempotency_key,
            wait=wait.value if wait else None,
            wait_timeout_s=timeout,
        )
        show_receipt(output, receipt, "deleted")


def add_to(app: typer.Typer) -> None:
    app.command("delete")(delete)
