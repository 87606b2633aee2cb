"""The command line: the Typer app, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from soma_cli import __version__
from soma_cli.commands import COMMANDS
from soma_cli.commands.options import Globals
from soma_cli.core.errors import SomaError, UsageError
from soma_cli.output import Format, say, show_error
from soma_cli.standard_streams import drop_output, is_output_lost, open_missing, output_lost

INTERRUPTED = 130

MalformedCommand = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""What the parser raises for unknown options, missing arguments and values out of range."""


class SomaGroup(TyperGroup):
    """Turns soma's errors into messages and exit codes, for the shell and for tests alike."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _usage_errors(args):
            _check_utf8(ctx, args)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _usage_errors([*getattr(ctx, "_protected_args", []), *ctx.args]):
                return super().invoke(ctx)
        except SomaError as error:
            show_error(error, _error_format(ctx))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            drop_output()
            raise typer.Exit(0) from None
        except (KeyboardInterrupt, typer.Abort):
            say("soma: interrupted")
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _usage_errors(words: list[str]) -> Iterator[None]:
    """A command line that cannot be understood: an object where it asks for JSON, else as the parser shows it."""
    try:
        yield
    except MalformedCommand as error:
        if not _asks_for_json(words):
            raise
        show_error(UsageError(error.format_message()), Format.JSON)
        raise typer.Exit(UsageError.exit_code) from error


def _asks_for_json(words: list[str]) -> bool:
    """Whether a command line that could not be understood asks for JSON all the same."""
    asked = [after for word, after in pairwise([*words, ""]) if word in ("-o", "--output")]
    asked += [word.partition("=")[2] for word in words if word.startswith("--output=")]
    asked += [word[2:] for word in words if word.startswith("-o")]
    return any(format in (Format.JSON, Format.JSONL) for format in asked)


def _check_utf8(ctx: Any, words: list[str]) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, which no event, database or message can hold."""
    for word in words:
        shown = word.encode("utf-8", "backslashreplace").decode()
        if shown != word:
            message = f"The argument '{shown[:60]}' is not UTF-8; soma takes no other, nor in names of files."
            raise MalformedCommand(message, ctx)


def _error_format(ctx: typer.Context) -> Format:
    """The format that the command was asked for; its context is gone by now, so it left word in the root's."""
    globals_ = ctx.obj
    return globals_.format if isinstance(globals_, Globals) else Format.TEXT


app = typer.Typer(
    name="soma",
    cls=SomaGroup,
    help="Event-sourced memory for AI agents: every change is an event in a durable log, all else is rebuilt from it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"soma {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file.", metavar="FILE", readable=False)
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Profile of settings.", metavar="NAME")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Data folder.", metavar="FOLDER", readable=False)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Globals(config, profile, data_dir)


for command in COMMANDS:
    command.add_to(app)


def main() -> None:
    """Run the command line and exit with its code."""
    open_missing()
    if os.environ.get("NO_COLOR"):  # the parser's help and errors would be bold and framed with escape codes
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    sys.exit(_flushed(_run()))


def _run() -> int:
    try:
        app(prog_name="soma")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        drop_output()
    except Exception as error:
        if os.environ.get("SOMA_DEBUG"):
            raise
        if is_output_lost(error):
            drop_output()
            return _shown(output_lost(cast("OSError", error)))
        return _shown(_defect(error))
    return 0


def _flushed(code: int) -> int:
    """The exit code when all is written that was printed: that of the failure, where it cannot be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        if code == 0 and not isinstance(error, BrokenPipeError):
            return _shown(output_lost(error))
    return code


def _defect(error: Exception) -> SomaError:
    return SomaError(
        f"a defect in soma: {type(error).__name__}: {error}",
        hint="run again with SOMA_DEBUG=1 for the traceback, and report it",
    )


def _shown(error: SomaError) -> int:
    show_error(error, Format.JSON if _asks_for_json(sys.argv[1:]) else Format.TEXT)
    return error.exit_code
