"""What the commands about schemas share: options of one meaning, and opening the schemas that they work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import open_system

if TYPE_CHECKING:
    from soma_cli.core.compatibility import Mode
    from soma_cli.core.governance import Governance


class ModeChoice(StrEnum):
    """The checker's modes, without loading the checker for `soma --help`."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


SchemasOption = Annotated[
    Path | None,
    typer.Option("--schemas", help="Folder of the schemas.", metavar="FOLDER", readable=False, show_default=False),
]
ModeOption = Annotated[
    ModeChoice | None,
    typer.Option("--mode", help="Compatibility mode, in place of the schema's own.", show_default=False),
]
AllowRemoteOption = Annotated[
    bool, typer.Option("--allow-remote", help="Fetch what a $ref with an address leads to; else it is refused.")
]


@contextmanager
def open_schemas(ctx: typer.Context, folder: Path | None, *, allow_remote: bool = False) -> Iterator[Governance]:
    settings = {} if folder is None else {"registry.folder": folder}
    with open_system(ctx, one_shot=True, settings=settings) as system:
        schemas = system.admin.schemas
        yield schemas.with_remote() if allow_remote else schemas


def is_file(word: str) -> bool:
    """Whether an argument means a file, and not a schema by its name."""
    return "/" in word or word.endswith(".json")


def mode_of(choice: ModeChoice | None) -> Mode | None:
    from soma_cli.core.compatibility import Mode

    return None if choice is None else Mode(choice.value)
