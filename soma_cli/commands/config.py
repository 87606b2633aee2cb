"""soma config"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import soma_cli
from soma_cli.commands.options import FormatOption, globals_of, load, output_of
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, one_line, say, table

config = typer.Typer(help="Show the settings in force, and where they come from.", no_args_is_help=True)


@config.command("show")
def show(ctx: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """Show every setting with where its value came from; secrets are hidden.

    Example: soma config show
    """
    output = output_of(ctx, format)
    rows = _described(ctx)
    output.rows(rows, _show, lambda row: str(row["key"]))


@config.command("get")
def get(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="Key of the setting.", metavar="KEY", show_default=False)],
    format: FormatOption = Format.TEXT,
) -> None:
    """Print the value of one setting.

    Example: soma config get data_dir
    """
    output = output_of(ctx, format)
    rows = {row["key"]: row for row in _described(ctx)}
    if key not in rows:
        raise _unknown(key, list(rows))
    value = rows[key]["value"]
    output.result(rows[key], lambda: print(value if isinstance(value, str) else _shown(value)))


@config.command("path")
def path(ctx: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """Print which settings file is used, or where one would be looked for.

    Example: soma config path
    """
    from soma_cli.core.settings_file import places

    output = output_of(ctx, format)
    file = load(ctx).file
    looked = places(globals_of(ctx).config, os.environ, Path.cwd())
    result = {"file": None if file is None else str(file), "looked_for": list(map(str, looked))}
    output.result(result, lambda: _show_path(file, looked))


@config.command("example")
def example() -> None:
    """Print a settings file with every setting, its default and its meaning.

    Example: soma config example > soma.yaml
    """
    sys.stdout.write(_example_file().read_text(encoding="utf-8"))


def _described(ctx: typer.Context) -> list[dict[str, Any]]:
    from soma_cli.core.settings_loader import describe

    return describe(load(ctx))


def _show(rows: list[dict[str, Any]]) -> None:
    table(["setting", "value", "from"], ((row["key"], _shown(row["value"]), row["origin"]) for row in rows))


def _shown(value: object) -> str:
    """As it would be written in the file."""
    return value if value and isinstance(value, str) else one_line(value, limit=1_000_000)


def _show_path(file: Path | None, looked: list[Path]) -> None:
    if file is not None:
        print(file)
        return
    say("no settings file is used; the first of these that is there would be:")
    for place in looked:
        print(place)


def _example_file() -> Path:
    """Beside the package's modules in an installed wheel, at the root of a source tree."""
    package = Path(soma_cli.__file__).parent
    installed = package / "config.example.yaml"
    return installed if installed.is_file() else package.parent / "config.example.yaml"


def _unknown(key: str, known: list[str]) -> UsageError:
    import difflib

    inside = [name for name in known if name.startswith(f"{key}.") or name.endswith(f".{key}")]
    near = inside or difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "`soma config show` lists every setting"
    return UsageError(f"there is no setting {key}", hint=hint, code="unknown_setting", details={"key": key})


def add_to(app: typer.Typer) -> None:
    app.add_typer(config, name="config")
