"""soma replay"""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    ExecuteOption,
    FormatOption,
    NamespaceOption,
    QuietOption,
    YesOption,
    check_can_ask,
    confirm,
    open_system,
    output_of,
    say_instants,
)
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, Output, fields, progress, say, visible

if TYPE_CHECKING:
    from soma_cli.core.operations.replay import Selection
    from soma_cli.core.results import Rebuild
    from soma_cli.core.system import MemorySystem


class Target(StrEnum):
    kv = "kv"
    vector = "vector"


class TypeChoice(StrEnum):
    created = "created"
    updated = "updated"
    deleted = "deleted"


def replay(
    ctx: typer.Context,
    from_offset: Annotated[
        str | None, typer.Option("--from-offset", help="beginning, end, stored, N, or -N.", metavar="OFFSET")
    ] = None,
    from_time: Annotated[str | None, typer.Option("--from", help="Appended at or after.", metavar="TIME")] = None,
    to_time: Annotated[str | None, typer.Option("--to", help="Appended at or before.", metavar="TIME")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Events of this memory.")] = None,
    namespace: NamespaceOption = None,
    type: Annotated[TypeChoice | None, typer.Option("--type", help="Events of this type.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-l", help="Most events to show.", min=1)] = None,
    into: Annotated[
        Target | None, typer.Option("--into", help="Rebuild this projection from the log and compare it.")
    ] = None,
    execute: ExecuteOption = False,
    yes: YesOption = False,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Show the events of a range, for audits; or rebuild a projection from all of them.

    Example: soma replay --from-offset 0 -o jsonl

    Example: soma replay --into kv --execute
    """
    from soma_cli.core.operations.read import check_id
    from soma_cli.core.operations.replay import Selection

    output = output_of(ctx, format, quiet)
    say_instants(output, from_time, to_time)
    one = None if id is None else check_id(id)
    selection = Selection(from_offset, from_time, to_time, one, namespace, type.value if type else None, limit)
    with open_system(ctx) as system:
        if into is None:
            _audit(system, selection, output)
            return
        if selection != Selection():
            raise UsageError("a rebuild takes the whole log", hint="leave the selection out, or leave --into out")
        _rebuild(system, into, output, execute=execute, yes=yes)


def _audit(system: MemorySystem, selection: Selection, output: Output) -> None:
    lines = system.admin.replay(selection)
    if output.format is Format.TEXT and not output.quiet:
        for line in lines:
            print(visible(_line(line)))
    else:
        output.rows(lines, lambda rows: None, lambda line: str(line["position"]))


def _line(line: dict[str, object]) -> str:
    import orjson

    event = orjson.dumps(line["event"]).decode() if line["event"] is not None else f"not JSON: {line['value_base64']}"
    return f"{line['position']}  {line['appended_at']}  {event}"


def _rebuild(system: MemorySystem, into: Target, output: Output, *, execute: bool, yes: bool) -> None:
    from soma_cli.core.garbage import collected_rarely

    if execute:
        check_can_ask(yes)

    with ExitStack() as bar:
        advance = bar.enter_context(progress(f"rebuilding {into.value}"))

        def decide(result: Rebuild) -> bool:
            bar.close()  # or it would be drawn over the question
            if output.format is Format.TEXT:
                _show(result)
            return execute and confirm(f"Put the rebuilt {into.value} in the place of the live one?", yes=yes)

        with collected_rarely():
            result = system.admin.rebuild(into.value, decide=decide, progress=lambda done: advance(done))
    if output.format is not Format.TEXT:
        output.result(result, lambda: None)
    elif result.executed:
        say(f"soma: {into.value} was swapped in after {result.elapsed_s:.1f} s")
    elif execute:
        say(f"soma: nothing was changed; the rebuilt {into.value} was thrown away")
    else:
        say(f"soma: nothing was changed; add --execute to put it in the place of the live {into.value}")


def _show(result: Rebuild) -> None:
    kinds = {
        "missing": "missing in the live one",
        "extra": "not in the log",
        "different": "different",
        "journal": "journal rows that differ",
    }
    found = [f"{count:,} {kinds[kind]}" for kind, count in result.differences.items() if count]
    examples = [id for ids in result.examples.values() for id in ids][:5]
    fields(
        [
            ("rebuilt", f"{result.into} from {result.events:,} events, {result.compared:,} memories compared"),
            ("differences", ", ".join(found) or "none"),
            ("for example", "\n".join(examples) or None),
            ("position", ", ".join(f"{partition}@{offset}" for partition, offset in result.position.items()) or None),
        ]
    )


def add_to(app: typer.Typer) -> None:
    app.command("replay")(replay)
