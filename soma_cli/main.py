"""The command line: the Typer app, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
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

INTERRUPTED = 130

MalformedCommand = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""What the parser raises for unknown options, missing arguments and values out of range."""


class SomaGroup(TyperGroup):
    """Turns soma's errors into messages and exit codes, for the shell and for tests alike."""

    def invoke(self, ctx: Any) -> Any:
        as_json = _asks_for_json([*getattr(ctx, "_protected_args", []), *ctx.args])
        try:
            return super().invoke(ctx)
        except MalformedCommand as error:
            if not as_json:
                raise
            show_error(UsageError(error.format_message()), Format.JSON)
            raise typer.Exit(UsageError.exit_code) from error
        except SomaError as error:
            show_error(error, _error_format(ctx))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            _leave_closed_pipe()
            raise typer.Exit(0) from None
        except (KeyboardInterrupt, typer.Abort):
            say("soma: interrupted")
            raise typer.Exit(INTERRUPTED) from None


def _asks_for_json(words: list[str]) -> bool:
    """Whether a command line that could not be understood asks for JSON all the same."""
    asked = [after for word, after in pairwise([*words, ""]) if word in ("-o", "--output")]
    asked += [word.partition("=")[2] for word in words if word.startswith("--output=")]
    return any(format in (Format.JSON, Format.JSONL) for format in asked)


def _error_format(ctx: typer.Context) -> Format:
    """The format that the command was asked for; its context is gone by now, so it left word in the root's."""
    globals_ = ctx.obj
    return globals_.format if isinstance(globals_, Globals) else Format.TEXT


def _leave_closed_pipe() -> None:
    """Nobody reads our output any more. Point stdout elsewhere, so that closing it at exit does not fail again."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())


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
    config: Annotated[Path | None, typer.Option("--config", help="Settings file.", metavar="FILE")] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Profile of settings.", metavar="NAME")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Data folder.", metavar="FOLDER")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Globals(config, profile, data_dir)


for command in COMMANDS:
    command.add_to(app)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app(prog_name="soma")
    except BrokenPipeError:
        _leave_closed_pipe()
        sys.exit(0)
    except Exception as error:
        if os.environ.get("SOMA_DEBUG"):
            raise
        say(f"soma: a defect in soma: {type(error).__name__}: {error}")
        say("      run again with SOMA_DEBUG=1 for the traceback, and report it")
        sys.exit(1)
