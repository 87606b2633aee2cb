"""soma search"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    FormatOption,
    NamespaceOption,
    QuietOption,
    finite,
    open_system,
    output_of,
    read_embedding,
    say_instants,
)
from soma_cli.output import Format, one_line, progress, table

if TYPE_CHECKING:
    from soma_cli.core.results import SearchHit


class ModeChoice(StrEnum):
    lexical = "lexical"
    dense = "dense"
    hybrid = "hybrid"


def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for.", metavar="TEXT", show_default=False)] = "",
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option("--limit", "-l", help="Most to show.", min=1, max=1000)] = 10,
    mode: Annotated[
        ModeChoice | None, typer.Option("--mode", help="How to search; by default the best there is.")
    ] = None,
    embedding: Annotated[
        Path | None, typer.Option("--embedding", help="File with the query's vector, a JSON array.", metavar="FILE")
    ] = None,
    importance: Annotated[float | None, typer.Option("--min-importance", help="Of at least this importance.")] = None,
    created_from: Annotated[str | None, typer.Option("--from", help="Created since then.", metavar="TIME")] = None,
    created_to: Annotated[str | None, typer.Option("--to", help="Created until then.", metavar="TIME")] = None,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Search memories by text, vector or both, best first.

    Example: soma search "where does Alice like to sit" --namespace travel
    """
    output = output_of(ctx, format, quiet)
    say_instants(output, created_from, created_to)
    with open_system(ctx, one_shot=True) as system, progress("indexing") as indexed:
        hits = system.search(
            query,
            namespace=namespace,
            limit=limit,
            mode=mode.value if mode else None,
            embedding=read_embedding(embedding),
            importance_min=finite("--min-importance", importance),
            created_from=created_from,
            created_to=created_to,
            progress=indexed,
        )
    output.rows(hits, _show, lambda hit: hit.id)


def _show(hits: list[SearchHit]) -> None:
    if not hits:
        print("nothing found")
        return
    table(
        ["score", "id", "namespace", "payload"],
        ((f"{hit.score:.3f}", hit.id, hit.namespace, one_line(hit.payload)) for hit in hits),
        right=[0],
    )


def add_to(app: typer.Typer) -> None:
    app.command("search")(search)
