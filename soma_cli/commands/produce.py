"""soma produce"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, QuietOption, file_error, open_system, output_of
from soma_cli.core.errors import InputRejected, UsageError
from soma_cli.output import Format, fields, progress, say

if TYPE_CHECKING:
    from soma_cli.core.results import ProduceResult

_MOST_SHOWN = 10


def produce(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines, - for standard input.", metavar="FILE", show_default=False)],
    key: Annotated[
        str | None,
        typer.Option("--key", help="JSON pointer to a field that names the memory: a second run adds nothing."),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", help="Of lines that name none; lines of `replay` keep theirs.", metavar="NAME"
        ),
    ] = None,
    atomic: Annotated[bool, typer.Option("--atomic", help="Append nothing if any line is rejected.")] = False,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Append many events from JSON Lines: payloads, whole events, or what `replay` prints.

    Example: soma produce memories.jsonl --key /payload/qualified_name
    """
    output = output_of(ctx, format, quiet)
    with _opened(file, seekable=atomic) as lines, open_system(ctx) as system:
        checked = system.produce(lines, namespace=namespace, key=key, rehearse=True) if atomic else None
        if checked is not None and checked.rejected:
            checked.accepted = 0
            result = checked
        else:
            if atomic:
                lines.seek(0)
            with progress("lines", _count(file)) as advance:
                result = system.produce(lines, namespace=namespace, key=key, progress=advance)
    output.result(result, lambda: _show(result), [])
    if result.rejected:
        raise InputRejected(
            f"{result.rejected:,} of {result.rejected + result.accepted:,} lines were rejected"
            + (", so none was appended" if checked is not None and checked.rejected else ""),
            hint="mend them and run again; with --key or event_ids nothing is appended twice",
            code="lines_rejected",
            details={"rejected": result.rejected},
        )


@contextmanager
def _opened(file: Path, *, seekable: bool) -> Iterator[IO[bytes]]:
    """The lines' source. Standard input is put into a temporary file where it must be read twice."""
    if str(file) != "-":
        try:
            source = file.open("rb")
            source.peek(1)
        except OSError as error:
            raise file_error(file, error) from error
        with source:
            yield source
    elif seekable:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
    else:
        if sys.stdin.isatty():
            raise UsageError("standard input is the terminal", hint="pipe JSON Lines into it")
        yield sys.stdin.buffer


def _count(file: Path) -> int | None:
    """Lines of the file, for the progress bar; unknown for standard input."""
    if str(file) == "-" or not sys.stderr.isatty():
        return None
    with file.open("rb") as source:
        return sum(block.count(b"\n") for block in iter(lambda: source.read(1 << 20), b""))


def _show(result: ProduceResult) -> None:
    for reject in result.rejects[:_MOST_SHOWN]:
        where = f" (at {reject.pointer})" if reject.pointer and reject.pointer not in reject.message else ""
        say(f"line {reject.line}: {reject.message}{where}")
    if result.rejected > _MOST_SHOWN:
        say(f"... and {result.rejected - _MOST_SHOWN:,} more")
    # Over several partitions two positions are no span.
    spread = f" to {result.partitions:,} partitions" if result.partitions > 1 else ""
    span = f"{result.first_position} to {result.last_position}" if result.first_position and not spread else None
    fields(
        [
            ("appended", f"{result.appended:,}{spread}"),
            ("there before", f"{result.duplicates:,}" if result.duplicates else None),
            ("rejected", f"{result.rejected:,}" if result.rejected else None),
            ("positions", span),
        ]
    )


def add_to(app: typer.Typer) -> None:
    app.command("produce")(produce)
