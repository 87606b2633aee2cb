"""Results to stdout as text, JSON or JSON Lines; everything else to stderr, so that a pipe is always clean."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from soma_cli.core.errors import SomaError

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class Output:
    """One command's stdout. `quiet` prints ids only."""

    def __init__(self, format: Format = Format.TEXT, quiet: bool = False) -> None:
        self.format = format
        self.quiet = quiet
        _write_unicode(format)

    def result(self, value: object, text: Callable[[], None], ids: Iterable[str] = ()) -> None:
        """One object: by `text` for people, as JSON for machines, or the ids alone."""
        if self.quiet:
            _write_lines(ids)
        elif self.format is Format.TEXT:
            text()
        else:
            write_json(value, indent=self.format is Format.JSON and sys.stdout.isatty())

    def rows(self, rows: Iterable[Any], text: Callable[[list[Any]], None], id: Callable[[Any], str]) -> None:
        """A list: streamed as ids or JSON Lines, whole as a JSON array or text."""
        if self.quiet:
            _write_lines(id(row) for row in rows)
        elif self.format is Format.JSONL:
            for row in rows:
                write_json(row)
        elif self.format is Format.JSON:
            _write_array(rows)
        else:
            text(list(rows))


def _write_unicode(format: Format) -> None:
    """Nothing fails for a locale that lacks a character: JSON is UTF-8 everywhere, text escapes it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if format is Format.TEXT:
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")


def _write_array(rows: Iterable[Any]) -> None:
    """A JSON array, streamed: its rows may be a million."""
    if sys.stdout.isatty():
        write_json(list(rows), indent=True)
        return
    separator = "["
    for row in rows:
        sys.stdout.write(separator + json_text(row))
        separator = ","
    sys.stdout.write("]\n" if separator == "," else "[]\n")


def _write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def write_json(value: object, *, indent: bool = False) -> None:
    sys.stdout.write(f"{json_text(value, indent=indent)}\n")


def json_text(value: object, *, indent: bool = False) -> str:
    """JSON on one line, or indented. Integers may have more than 64 bits here: a witness against a schema may have."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 if indent else 0).decode()
    except TypeError:
        import json

        form: dict[str, Any] = {"indent": 2} if indent else {"separators": (",", ":")}
        return json.dumps(value, default=_plain, ensure_ascii=False, **form)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr. Never fails: where nobody can be told, nobody is."""
    with suppress(OSError):
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


def show_error(error: SomaError, format: Format) -> None:
    if format is Format.TEXT:
        say(f"soma: {error.message}")
        if error.hint:
            say(f"      {error.hint}")
        return
    body = {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}
    with suppress(OSError):
        sys.stderr.write(_surely_json({"error": body}) + "\n")
        sys.stderr.flush()


def _surely_json(value: object) -> str:
    """JSON also of text that is not well-formed, with question marks for what is not."""
    try:
        return orjson.dumps(value, default=_shown).decode()
    except TypeError:
        import json

        return json.dumps(value, default=_shown, ensure_ascii=False).encode(errors="replace").decode()


def _shown(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def console(*, stderr: bool = False) -> Console:
    """A rich console, for what is redrawn on a terminal; NO_COLOR is respected."""
    from rich.console import Console

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, emoji=False, markup=False)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns."""
    shown = [(visible(name), value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        text = visible(str(value)).replace("\n", "\n" + " " * (width + 2))
        sys.stdout.write(f"{name:<{width}}  {text}\n")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    """Columns without lines around them; `right` names the columns of numbers.

    On a terminal the last column is cut to its width; elsewhere nothing is cut, so that `grep` sees it all.
    """
    from rich.cells import cell_len

    grid = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*grid, strict=True)]
    last = len(headings) - 1
    if sys.stdout.isatty():
        taken = sum(widths[:last]) + 2 * last
        widths[last] = max(10, min(widths[last], shutil.get_terminal_size().columns - taken))
    for number, row in enumerate(grid):
        padded = [
            " " * (width - cell_len(cell)) + cell if column in right else _fitted(cell, width, column == last)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(padded).rstrip()
        sys.stdout.write((f"\x1b[1m{line}\x1b[0m" if number == 0 and drawable(sys.stdout) else line) + "\n")


def _fitted(cell: str, width: int, last: bool) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(cell) > width:
        return set_cell_size(cell, width - 1) + "…"
    return cell if last else set_cell_size(cell, width)


def drawable(stream: TextIO) -> bool:
    """Whether escape codes may be written to it: to terminals only, and not with NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _cell(value: object) -> str:
    return "-" if value is None else printable(str(value))


def printable(text: str) -> str:
    """One line of what a terminal can show: control characters, escape sequences above all, become spaces."""
    return " ".join("".join(c if _is_harmless(c) else " " for c in text).split())


def visible(text: str) -> str:
    """The text with control characters, direction marks and the like as JSON escapes; ends of lines stay."""
    import json

    if text.isprintable():
        return text
    return "".join(c if c == "\n" or _is_harmless(c) else json.dumps(c)[1:-1] for c in text)


def _is_harmless(character: str) -> bool:
    """Printable, a space of any width, or a joiner as in Persian words and in emoji."""
    import unicodedata

    return character.isprintable() or character in "\u200c\u200d" or unicodedata.category(character) == "Zs"


def hanging(first: str, text: str) -> None:
    """`first` and then the text, on one line; on a terminal wrapped to its width, and indented below `first`."""
    line = first + printable(text)
    if sys.stdout.isatty():
        import textwrap

        width, indent = max(40, shutil.get_terminal_size().columns), " " * len(first)
        line = textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    sys.stdout.write(f"{line}\n")


def pretty_json(value: object) -> str:
    """Indented, and safe to show on a terminal: control characters are escaped, also those that JSON takes raw."""
    return visible(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def one_line(value: object, limit: int = 200) -> str:
    """A payload in a line: its text where it has one."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        line = value["text"]
    else:
        line = json_text(value)
    line = printable(line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then otherwise. Yields a function that is told how many more are done."""
    if drawable(sys.stderr):
        yield from _bar(what, total)
    else:
        yield from _lines(what)


def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _lines(what: str, every_s: float = 5.0) -> Iterator[Callable[[int], None]]:
    import time

    count, last = 0, time.monotonic()

    def advance(done: int) -> None:
        nonlocal count, last
        count += done
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            say(f"{what}: {count:,} done")

    yield advance
