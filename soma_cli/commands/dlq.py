"""soma dlq"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    ExecuteOption,
    FormatOption,
    QuietOption,
    YesOption,
    confirm,
    open_system,
    output_of,
)
from soma_cli.core.errors import CheckFailed, InputRejected, NotFound, SomaError, TooManyRejects, UsageError
from soma_cli.output import Format, Output, fields, pretty_json, printable, say, table

if TYPE_CHECKING:
    from soma_cli.core.eventing.dead_letters import DeadLetter
    from soma_cli.core.results import Letter, LetterResult
    from soma_cli.core.system import MemorySystem

dlq = typer.Typer(
    help="Dead letters: records that no retry will fix, kept with their original bytes.", no_args_is_help=True
)

PositionArgument = Annotated[
    str | None, typer.Argument(help="Of the letter or of its source.", metavar="POSITION", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All open letters: shows the plan; --execute acts.")]


@dlq.command("list")
def list_letters(ctx: typer.Context, format: FormatOption = Format.TEXT, quiet: QuietOption = False) -> None:
    """List the open letters, oldest first.

    Example: soma dlq list -o jsonl
    """
    output = output_of(ctx, format, quiet)
    with open_system(ctx) as system:
        found = system.admin.dead_letters()
    output.rows(found, _show_list, lambda item: item.position)


@dlq.command("show")
def show(
    ctx: typer.Context,
    position: Annotated[str, typer.Argument(help="Of the letter or of its source.", metavar="POSITION")],
    format: FormatOption = Format.TEXT,
) -> None:
    """Show one letter with its original content.

    Example: soma dlq show memory.dlq/0@0
    """
    output = output_of(ctx, format)
    with open_system(ctx) as system:
        found = system.admin.dead_letter(position)
    output.result(found, lambda: _show_one(found))


@dlq.command("retry")
def retry(
    ctx: typer.Context,
    position: PositionArgument = None,
    all: AllOption = False,
    force: Annotated[bool, typer.Option("--force", help="Also where the memory has changed since.")] = False,
    execute: ExecuteOption = False,
    yes: YesOption = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Send letters again. A retry never overtakes a newer state unless forced.

    Example: soma dlq retry memory.dlq/0@0
    """
    output = output_of(ctx, format)
    with open_system(ctx) as system:
        send = partial(system.admin.retry_dead_letter, force=force)
        _act(system, output, position, "retry", send, all, execute, yes)


@dlq.command("discard")
def discard(
    ctx: typer.Context,
    position: PositionArgument = None,
    all: AllOption = False,
    execute: ExecuteOption = False,
    yes: YesOption = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Settle letters without sending them again; their bytes stay in the log.

    Example: soma dlq discard memory.dlq/0@0
    """
    output = output_of(ctx, format)
    with open_system(ctx) as system:
        _act(system, output, position, "discard", system.admin.discard_dead_letter, all, execute, yes)


def _act(
    system: MemorySystem,
    output: Output,
    position: str | None,
    verb: str,
    action: Callable[[str | DeadLetter], LetterResult],
    all: bool,
    execute: bool,
    yes: bool,
) -> None:
    """One letter at once; all of them by plan, question and --execute."""
    if (position is None) != all:
        raise UsageError("name one letter's POSITION, or --all of them", hint="see `soma dlq list`")
    if position is not None:
        _finish(output, [action(position)], [])
        return
    found = system.admin.open_letters()
    if not execute or not found:
        _show_plan(output, found, verb)
        return
    act = confirm(f"{verb.capitalize()} {len(found):,} letters?", yes=yes)
    _act_on_all(output, found if act else [], action)


def _show_plan(output: Output, found: list[DeadLetter], verb: str) -> None:
    from soma_cli.core.operations.dead_letters import shown

    output.rows(map(shown, found), _show_list, lambda item: item.position)
    if found:
        say(f"soma: nothing was changed; add --execute to {verb} these {len(found):,} letters")


def _act_on_all(output: Output, found: list[DeadLetter], action: Callable[[DeadLetter], LetterResult]) -> None:
    """What concerns one letter leaves that one as it is; any other failure ends the run, with its own exit code."""
    results: list[LetterResult] = []
    failures: list[SomaError] = []
    for item in found:
        try:
            results.append(action(item))
        except SomaError as error:
            if isinstance(error, TooManyRejects) or not isinstance(error, CheckFailed | NotFound):
                _show_done(output, results, failures)
                raise
            failures.append(error)
    _finish(output, results, failures)


def _show_done(output: Output, results: list[LetterResult], failures: list[SomaError]) -> None:
    output.rows(results, _show_results, lambda item: item.source)
    for failure in failures:
        say(f"soma: {failure.message}")


def _finish(output: Output, results: list[LetterResult], failures: list[SomaError]) -> None:
    _show_done(output, results, failures)
    rejected = sum(item.result == "rejected" for item in results)
    if rejected:
        raise InputRejected(
            f"{rejected:,} of {len(results) + len(failures):,} letters are still no valid events and stay",
            hint="look at them with `soma dlq show SOURCE`; `soma dlq discard SOURCE` settles them",
            code="still_rejected",
        )
    if failures:
        codes = {failure.code for failure in failures}
        code = codes.pop() if len(codes) == 1 else "newer_state"
        raise CheckFailed(
            f"{len(failures):,} letters were left as they are",
            hint="see `soma dlq list` and the lines above",
            code=code,
        )


def _show_list(found: list[Letter]) -> None:
    if not found:
        print("no dead letters")
        return
    table(
        ["position", "source", "worker", "attempts", "failed", "code", "message"],
        (
            (item.position, item.source, item.worker, item.attempts, item.failed_at[:19] + "Z", item.code, item.message)
            for item in found
        ),
        right=[3],
    )


def _show_one(found: Letter) -> None:
    content = pretty_json(found.value) if found.value is not None else f"not JSON; base64: {found.value_base64}"
    fields(
        [
            ("position", found.position),
            ("source", found.source),
            ("worker", printable(found.worker)),
            ("attempts", found.attempts),
            ("failed", printable(found.failed_at)),
            ("code", printable(found.code)),
            ("message", printable(found.message)),
            ("pointer", None if found.pointer is None else printable(found.pointer)),
            ("key", None if found.key is None else printable(found.key)),
            ("content", content),
        ]
    )


def _show_results(results: list[LetterResult]) -> None:
    for item in results:
        if item.result == "rejected":
            print(
                f"rejected {item.source}: {item.message} (attempt {item.attempts}; its letter is {item.position} now)"
            )
        else:
            print(f"{item.result} {item.source}" + (f" as {item.position}" if item.position else ""))


def add_to(app: typer.Typer) -> None:
    app.add_typer(dlq, name="dlq")
