"""soma history"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from soma_cli.commands.options import FormatOption, IdArgument, QuietOption, open_system, output_of
from soma_cli.output import Format, one_line, table

if TYPE_CHECKING:
    from soma_cli.core.results import HistoryEntry


def history(ctx: typer.Context, id: IdArgument, format: FormatOption = Format.TEXT, quiet: QuietOption = False) -> None:
    """Show every event of a memory with its outcome, oldest first.

    Example: soma history 01890a5d-ac96-774b-bcce-b302099a8057
    """
    output = output_of(ctx, format, quiet)
    with open_system(ctx, one_shot=True) as system:
        entries = system.history(id)
    output.rows(entries, _show, lambda entry: entry.event_id or "")


def _show(entries: list[HistoryEntry]) -> None:
    table(
        ["position", "appended", "type", "outcome", "what"],
        ((entry.position, entry.appended_at, entry.type, entry.outcome, _what(entry)) for entry in entries),
    )


def _what(entry: HistoryEntry) -> str:
    event = entry.event or {}
    parts = [entry.note]
    if entry.type == "deleted":
        reason, actor = event.get("reason"), event.get("actor")
        parts += [f"by {actor}" if actor else "", one_line(reason) if reason else ""]
    elif event:
        parts.append(one_line(event.get("payload")))
    return " · ".join(part for part in parts if part)


def add_to(app: typer.Typer) -> None:
    app.command("history")(history)
