"""soma stats"""

from __future__ import annotations

from typing import Any

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.output import Format, fields


def stats(ctx: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """Show counts, sizes, and where the data lies.

    Example: soma stats
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        found = system.admin.stats()
    output.result(found, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    journal = ", ".join(f"{count:,} {outcome}" for outcome, count in found["journal"].items() if count)
    fields(
        [
            ("memories", f"{found['memories']:,}"),
            *((f"  {row['namespace']}", f"{row['memories']:,}") for row in found["namespaces"]),
            ("tombstones", f"{found['tombstones']:,}"),
            ("events", f"{found['events']:,} in the log" + (f"; {journal}" if journal else "")),
            ("index", f"{found['index']['points']:,} points"),
            ("dead letters", f"{found['dead_letters']:,}"),
            ("profile", found["profile"]),
            *((f"{part['name']}", f"{_size(part['bytes'])}  {part['path']}") for part in found["files"]),
            *(
                (place["name"], f"{place['kind']} at {place['where']}")
                for place in found["places"]
                if _is_served(place)
            ),
        ]
    )


def _is_served(place: dict[str, Any]) -> bool:
    return place["kind"] not in ("sqlite", "qdrant_edge")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def add_to(app: typer.Typer) -> None:
    app.command("stats")(stats)
