"""Writes reference.md, the page of all commands, from the command line itself: `python docs/generate_reference.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from soma_cli.main import app, root

PAGE = Path(__file__).with_name("reference.md")

HEAD = """# Commands

Generated from the command line by `python docs/generate_reference.py`; a test compares. Every command also has
`--help`. What the commands print as JSON, and what their exit codes mean, is on [its own page](json-shapes.md).
"""


class Command(NamedTuple):
    """A command that can be run: its full name, and the function that does it."""

    name: str
    function: Callable[..., Any]

    @property
    def paragraphs(self) -> list[str]:
        return inspect.cleandoc(self.function.__doc__ or "").split("\n\n")

    @property
    def summary(self) -> str:
        return " ".join(self.paragraphs[0].split())

    @property
    def examples(self) -> list[str]:
        return re.findall(r"^Example: (.+)$", "\n".join(self.paragraphs), re.MULTILINE)


def commands(of: typer.Typer = app, prefix: str = "soma") -> Iterator[Command]:
    """Every command, in the order of `soma --help`, groups last."""
    for info in of.registered_commands:
        assert info.callback is not None
        yield Command(f"{prefix} {info.name or info.callback.__name__}", info.callback)
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{prefix} {group.name or group.typer_instance.info.name}")


def page() -> str:
    options = ["## soma", "", "Options before the command:", "", *_table(root)]
    return "\n".join([HEAD, *options, *(line for command in commands() for line in _section(command))])


def _section(command: Command) -> Iterator[str]:
    yield from (f"## {command.name}", "", command.summary, "")
    for paragraph in command.paragraphs[1:]:
        if text := re.sub(r"^Example: .+\n?", "", paragraph, flags=re.MULTILINE).strip():
            yield from (text, "")
    yield from ("```sh", *command.examples, "```", "", *_table(command.function))


def _table(function: Callable[..., Any]) -> Iterator[str]:
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    rows = [_row(parameter, hints[parameter.name]) for parameter in parameters if parameter.name != "ctx"]
    yield from ("| argument or option | meaning |", "|---|---|", *rows, "")


def _row(parameter: inspect.Parameter, hint: Any) -> str:
    kind, info = get_args(hint)[:2]
    assert isinstance(info, OptionInfo | ArgumentInfo)
    notes = [info.help or ""]
    if list in (getattr(part, "__origin__", None) for part in (kind, *get_args(kind))):
        notes.append("May be given several times.")
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        notes.append(f"Default: `{_written(default)}`.")
    return f"| `{_spelling(parameter, kind, info)}` | {' '.join(filter(None, notes))} |".replace(
        "TIME|POS", r"TIME\|POS"
    )


def _written(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _spelling(parameter: inspect.Parameter, kind: Any, info: OptionInfo | ArgumentInfo) -> str:
    """How it is written: `--limit, -l N`; the choices where there are any."""
    if isinstance(info, ArgumentInfo):
        value = _value(kind, info, parameter.name)
        return value if parameter.default is inspect.Parameter.empty else f"[{value.strip('[]')}]"
    # In an Annotated hint, Typer keeps the first spelling where the default would be.
    first = [info.default] if isinstance(info.default, str) else []
    names = ", ".join([*first, *(info.param_decls or ())])
    return names if bool in (kind, *get_args(kind)) else f"{names} {_value(kind, info, '')}"


def _value(kind: Any, info: OptionInfo | ArgumentInfo, name: str) -> str:
    plain = next((part for part in (*get_args(kind), kind) if isinstance(part, type) and part is not NoneType), str)
    if issubclass(plain, Enum):
        return r"\|".join(_written(member) for member in plain)
    fallback = {int: "N", float: "NUMBER", Path: "FILE"}.get(plain, "TEXT")
    return (info.metavar or name.upper() or fallback).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
