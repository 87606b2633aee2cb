"""soma update"""

from __future__ import annotations

from typing import Annotated

import typer

from soma_cli.commands.options import (
    FormatOption,
    IdArgument,
    NamespaceOption,
    QuietOption,
    open_system,
    output_of,
    read_embedding,
)
from soma_cli.commands.receipts import TimeoutOption, WaitOption, receipt_shown, show_receipt
from soma_cli.commands.store import (
    ActorOption,
    EmbeddingOption,
    ImportanceOption,
    KeyOption,
    PayloadOption,
    RevisionOption,
    TextOption,
    TimestampOption,
    payload_of,
)
from soma_cli.output import Format

IfVersionOption = Annotated[
    int | None, typer.Option("--if-version", help="Only if the memory is at this version.", metavar="VERSION", min=0)
]


def update(
    ctx: typer.Context,
    id: IdArgument,
    payload: PayloadOption = None,
    text: TextOption = None,
    namespace: NamespaceOption = None,
    importance: ImportanceOption = None,
    if_version: IfVersionOption = None,
    idempotency_key: KeyOption = None,
    embedding: EmbeddingOption = None,
    model_revision: RevisionOption = None,
    timestamp: TimestampOption = None,
    actor: ActorOption = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 30.0,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Replace a memory's payload; importance and namespace stay unless given.

    Example: soma update 01890a5d-ac96-774b-bcce-b302099a8057 --text "Alice prefers aisle seats"
    """
    output = output_of(ctx, format, quiet)
    with open_system(ctx, one_shot=True) as system, receipt_shown(output):
        receipt = system.update(
            id,
            payload_of(payload, text, system.settings.limits.event_bytes),  # type: ignore[arg-type]
            namespace=namespace,
            importance=importance,
            if_version=if_version,
            idempotency_key=idempotency_key,
            embedding=read_embedding(embedding),
            model_revision=model_revision,
            timestamp=timestamp,
            actor=actor,
            wait=wait.value if wait else None,
            wait_timeout_s=timeout,
        )
        show_receipt(output, receipt, "updated")


def add_to(app: typer.Typer) -> None:
    app.command("update")(update)
