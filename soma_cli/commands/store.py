"""soma store"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soma_cli.commands.options import (
    FormatOption,
    QuietOption,
    open_system,
    output_of,
    read_embedding,
    read_json,
)
from soma_cli.commands.receipts import TimeoutOption, WaitOption, receipt_shown, show_receipt
from soma_cli.core.errors import UsageError
from soma_cli.output import Format


def payload_of(payload: Path | None, text: str | None, limit: int) -> object:
    """The payload of --payload FILE or --text TEXT; exactly one of them."""
    if (payload is None) == (text is None):
        raise UsageError("give either --payload FILE or --text TEXT", hint='for example --text "Alice prefers tea"')
    return {"text": text} if payload is None else read_json(payload, limit)


PayloadOption = Annotated[
    Path | None, typer.Option("--payload", help="File with a JSON object, - for standard input.", metavar="FILE")
]
TextOption = Annotated[str | None, typer.Option("--text", help='Short for the payload {"text": TEXT}.')]
ImportanceOption = Annotated[float | None, typer.Option("--importance", help="Above zero; 1 if not given.")]
EmbeddingOption = Annotated[
    Path | None, typer.Option("--embedding", help="File with the vector, a JSON array.", metavar="FILE")
]
RevisionOption = Annotated[str | None, typer.Option("--model-revision", help="Model that made the vector.")]
TimestampOption = Annotated[
    str | None, typer.Option("--timestamp", help="When it happened: RFC 3339, epoch, date, or -24h.", metavar="TIME")
]
KeyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="A repeated call with the same key adds nothing.", metavar="KEY")
]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Who does this; kept in the event.")]


def store(
    ctx: typer.Context,
    payload: PayloadOption = None,
    text: TextOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace.", metavar="NAME")] = "default",
    importance: ImportanceOption = None,
    id: Annotated[str | None, typer.Option("--id", help="Id of the memory; a new one if not given.")] = None,
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
    """Store a memory: append a validated event to the log.

    Example: soma store --text "Alice prefers window seats" --namespace travel
    """
    output = output_of(ctx, format, quiet)
    with open_system(ctx, one_shot=True) as system, receipt_shown(output):
        receipt = system.store(
            payload_of(payload, text, system.settings.limits.event_bytes),  # type: ignore[arg-type]
            namespace=namespace,
            importance=importance,
            id=id,
            idempotency_key=idempotency_key,
            embedding=read_embedding(embedding),
            model_revision=model_revision,
            timestamp=timestamp,
            actor=actor,
            wait=wait.value if wait else None,
            wait_timeout_s=timeout,
        )
        show_receipt(output, receipt, "stored")


def add_to(app: typer.Typer) -> None:
    app.command("store")(store)
