"""What the commands share: options of one meaning, and opening the system that they work on."""

from __future__ import annotations

import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.core.errors import NotJson, UsageError
from soma_cli.output import Format, Output, say

if TYPE_CHECKING:
    from soma_cli.core.settings import Settings
    from soma_cli.core.settings_loader import Loaded
    from soma_cli.core.system import MemorySystem
    from soma_cli.log_format import LogFormat


@dataclass(slots=True)
class Globals:
    """Options before the command. `format` is what the command was asked for, so that errors take the same form."""

    config: Path | None = None
    profile: str | None = None
    data_dir: Path | None = None
    format: Format = Format.TEXT


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Output format.")]
_EMBEDDING_BYTES = 4 << 20
"""More than 100,000 numbers with all their digits."""
LOOK_WITHIN_S = 3.0
MOST = 1_000_000_000
"""The largest number that options which count things take; every store can hold it."""

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace.", metavar="NAME")]
IdArgument = Annotated[str, typer.Argument(help="Id of the memory.", metavar="ID", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ExecuteOption = Annotated[bool, typer.Option("--execute", help="Act; without it, only the plan is shown.")]


def output_of(ctx: typer.Context, format: Format, quiet: bool = False) -> Output:
    globals_of(ctx).format = format
    return Output(format, quiet)


def globals_of(ctx: typer.Context) -> Globals:
    found = ctx.find_object(Globals)
    assert found is not None
    return found


def load(ctx: typer.Context, settings: Mapping[str, object] | None = None) -> Loaded:
    """The settings in force, with where each came from; `settings` are options of the command."""
    from soma_cli.core.settings_loader import load_settings

    options = globals_of(ctx)
    overrides = {"data_dir": options.data_dir, **(settings or {})}
    return load_settings(config_file=options.config, profile=options.profile, overrides=overrides)


@contextmanager
def open_system(
    ctx: typer.Context,
    *,
    one_shot: bool = False,
    log_format: LogFormat | None = None,
    settings: Mapping[str, object] | None = None,
    looks: bool = False,
) -> Iterator[MemorySystem]:
    """`one_shot`: for a command that does one thing and ends. One that runs on has a `log_format`, and tells more. One
    that only `looks` does not wait long for a server."""
    from soma_cli.core.system import MemorySystem
    from soma_cli.log_format import configure

    configure(sys.stderr, log_format or "text")
    logging.getLogger("soma").setLevel(logging.WARNING if log_format is None else logging.INFO)
    loaded = load(ctx, settings).settings
    with MemorySystem(impatient(loaded) if looks else loaded, one_shot=one_shot) as system:
        yield system


def impatient(settings: Settings) -> Settings:
    """For who looks what is wrong: a server that does not answer within some seconds is taken to be away."""
    groups = {field.name: getattr(settings, field.name) for field in fields(settings)}
    shorter = {
        name: replace(group, timeout_s=min(group.timeout_s, LOOK_WITHIN_S))
        for name, group in groups.items()
        if hasattr(group, "timeout_s")
    }
    return replace(settings, **shorter)


def finite(option: str, number: float | None) -> float | None:
    """The number. Raises UsageError for NaN and the infinities, which the parser takes for numbers."""
    if number is not None and not math.isfinite(number):
        raise UsageError(f"{option} is {number}, not a finite number", hint="write a finite number, like 1.0")
    return number


def read_input(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises UsageError where there is no such file."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read() if limit is None else sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read() if limit is None else file.read(limit + 1)
    except OSError as error:
        raise file_error(path, error) from error
    if limit is not None and len(data) > limit:
        raise _too_large(path, limit)
    return data


def _too_large(path: Path, limit: int) -> NotJson:
    what = f"{_name(path)} has more than {limit:,} bytes"
    if limit == _EMBEDDING_BYTES:
        return NotJson(f"{what}, too many for a vector", hint="write for example [0.1, -0.2]", code="too_large")
    return NotJson(
        f"{what}, the limit for one memory",
        hint="store large content elsewhere and a reference to it here, or raise limits.event_bytes",
        code="too_large",
    )


def file_error(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{_name(path)} cannot be read: {error.strerror or error}", hint="check the path, or pass - for standard input"
    )


def _name(path: Path) -> str:
    return "standard input" if str(path) == "-" else str(path)


def read_json(path: Path, limit: int | None = None) -> object:
    """The JSON document of a file or of stdin. Raises UsageError, NotJson."""
    from soma_cli.core.serialization import deserialize

    data = read_input(path, limit)
    try:
        return deserialize(data)
    except NotJson as error:
        error.message = f"{_name(path)}: {error.message}"
        raise


def read_embedding(path: Path | None) -> list[float] | None:
    """A vector: a JSON array of numbers."""
    if path is None:
        return None
    value = read_json(path, _EMBEDDING_BYTES)
    if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
        raise NotJson(f"{_name(path)} is not a JSON array of numbers", hint="write for example [0.1, -0.2]")
    return value


def say_instants(output: Output, *times: str | None) -> None:
    """Tell a person, on stderr, which instant a time without a zone (it counts as UTC) or a duration was taken for."""
    from soma_cli.core.instants import format_instant, parse_instant

    if output.format is not Format.TEXT:
        return
    for text in times:
        if text is not None and "@" not in text and not re.search(r"([Zz]|[+-]\d\d:\d\d)$", text):
            say(f"soma: {text} is {format_instant(parse_instant(text))}")


def check_can_ask(yes: bool) -> None:
    """Fail before the work, not after it, where nobody can be asked. Raises UsageError."""
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("this changes many things, and there is no terminal to ask on", hint="add --yes to go ahead")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; without one, refuse unless --yes. Raises UsageError."""
    check_can_ask(yes)
    return yes or typer.confirm(question, err=True)
