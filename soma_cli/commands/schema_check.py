"""soma schema check"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import output_of
from soma_cli.commands.schema_options import (
    AllowRemoteOption,
    ModeOption,
    SchemasOption,
    is_file,
    mode_of,
    open_schemas,
)
from soma_cli.commands.schema_report import annotation, failure, remarks, show, workflow_commands
from soma_cli.core.errors import CheckFailed, InputRejected, SomaError, UsageError
from soma_cli.output import Format, progress, say

if TYPE_CHECKING:
    from soma_cli.core.compatibility import Mode
    from soma_cli.core.governance import Governance
    from soma_cli.core.schema_results import SchemaCheck


class CheckFormat(StrEnum):
    text = "text"
    json = "json"
    jsonl = "jsonl"
    github = "github"


def check(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of schemas, or one file; all schemas if left out.", metavar="NAME|FILE"),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="released (the last version in the folder), registry, log, git:REV, or a file.",
            metavar="WHAT",
        ),
    ] = "released",
    mode: ModeOption = None,
    schemas: SchemasOption = None,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Exit 0 also where something could not be decided.")
    ] = False,
    allow_remote: AllowRemoteOption = False,
    format: Annotated[
        CheckFormat, typer.Option("--output", "-o", help="Output format; github prints annotations.")
    ] = CheckFormat.text,
) -> None:
    """Check that changed schemas still agree with what was written before, with a witness where they do not.

    Exits 0 if all do, 7 where one breaks or could not be decided, 5 where one is no schema.

    Example: soma schema check

    Example: soma schema check --against git:main -o github

    Example: soma schema check NEW.json --against OLD.json --mode FULL

    Example: soma schema check --against log
    """
    as_annotations = format is CheckFormat.github
    output = output_of(ctx, Format.TEXT if as_annotations else Format(format.value))
    try:
        with open_schemas(ctx, schemas, allow_remote=allow_remote) as governance:
            report = _checked(governance, names or [], against, mode_of(mode))
    except SomaError as error:
        if as_annotations:
            sys.stdout.write(f"{failure(error)}\n")
        raise
    output.result(report, lambda: show(report))
    for remark in remarks(report):
        say(f"soma: {remark}")
    if as_annotations:
        sys.stdout.writelines(f"{line}\n" for line in workflow_commands(report, undecided_is_error=not allow_undecided))
        sys.stdout.writelines(f"{annotation('warning', remark)}\n" for remark in remarks(report))
    if report.refused:
        raise not_compared(report)
    if report.compatible is False or (report.compatible is None and not allow_undecided):
        raise failed(report)
    if report.missing:
        raise nothing_compared(report)


def _checked(governance: Governance, names: Sequence[str], against: str, mode: Mode | None) -> SchemaCheck:
    if against == "log":
        return _against_log(governance, names, mode)
    if against in ("released", "registry") or against.startswith("git:"):
        governance.refuse_wrong_place(names)
        return governance.check(_names(governance, names), against=against, mode=mode)
    if not is_file(against) and not Path(against).is_file():
        raise UsageError(
            f"--against {against} is neither released, registry, log, git:REV nor a file",
            hint=f"for a revision write --against git:{against}",
        )
    if len(names) != 1:
        raise UsageError("one schema is compared with a file", hint="soma schema check NEW.json --against OLD.json")
    new = Path(names[0]) if is_file(names[0]) else governance.path(names[0])
    return governance.check_file(new, Path(against), mode)


def _names(governance: Governance, words: Sequence[str]) -> list[str]:
    """Schemas by name; a file counts as the schema that it is the working version of."""
    return [_name_of_file(governance, word) if is_file(word) else word for word in words]


def _name_of_file(governance: Governance, word: str) -> str:
    path, name = Path(word), Path(word).name.removesuffix(".json")
    if path.resolve() == governance.path(name).resolve():
        return name
    if not path.exists():
        raise UsageError(f"there is no file {word}", hint="check the path, or name a schema of the folder")
    raise UsageError(
        f"{word} is no schema of {governance.folder.path}",
        hint=f"say what to compare it with: soma schema check {word} --against OLD.json",
    )


def _against_log(governance: Governance, names: Sequence[str], mode: Mode | None) -> SchemaCheck:
    if mode not in (None, "BACKWARD"):
        raise UsageError(f"the log is compared BACKWARD, not {mode}", hint="leave --mode out")
    if len(names) > 1:
        raise UsageError("events have one schema", hint="name one, or leave it out for memory.event")
    if not names:
        schema = governance.event_schema()
    else:
        schema = governance.file(Path(names[0])) if is_file(names[0]) else governance.schema(names[0])
    with progress("checking events", governance.events_in_log()) as advance:
        return governance.check_log(schema, advance)


def not_compared(report: SchemaCheck) -> InputRejected:
    """What a check of several schemas raises where some are none; the others were looked at all the same."""
    names = [refused.name for refused in report.refused]
    first = "" if len(names) == 1 else f"{names[0]}: "
    return InputRejected(
        f"{', '.join(names)} could not be compared: {first}{report.refused[0].message}",
        hint="mend what is shown above, then check again",
        code="schemas_refused",
        details={"refused": names},
    )


def failed(report: SchemaCheck) -> CheckFailed:
    """What a check raises that did not pass."""
    broken = [subject.subject for subject in report.subjects if subject.compatible is False]
    open_ = [subject.subject for subject in report.subjects if subject.compatible is None]
    if report.against == "log":
        return CheckFailed(
            f"the log holds events that {broken[0]} refuses",
            hint="accept them in the schema too, or see what wrote them with `soma replay`",
            code="schema_incompatible",
            details={"incompatible": broken, "undecided": open_},
        )
    if broken:
        return CheckFailed(
            f"{', '.join(broken)} {'breaks' if len(broken) == 1 else 'break'} what was there before",
            hint=_way_out(report),
            code="schema_incompatible",
            details={"incompatible": broken, "undecided": open_},
        )
    return CheckFailed(
        f"{', '.join(open_)} could not be decided",
        hint="say it in simpler words at the place shown, or look for yourself and pass --allow-undecided",
        code="schema_undecided",
        details={"incompatible": broken, "undecided": open_},
    )


def _way_out(report: SchemaCheck) -> str:
    """What to do; where only files are gone or changed, there is no document to be accepted."""
    if any(violation.keyword for subject in report.subjects for violation in subject.violations):
        return "keep accepting the documents shown, or release the change as a schema of another name"
    return "put the files back as they were; a schema that may go gets the mode NONE first"


def nothing_compared(report: SchemaCheck) -> CheckFailed:
    return CheckFailed(
        f"the registry has no version of {', '.join(report.missing)}: nothing was compared",
        hint="see that it is the right registry and log.topic_prefix with `soma schema list --registry`; "
        "`soma schema register` adds first versions",
        code="nothing_compared",
        details={"missing": report.missing},
    )


def add_to(schema: typer.Typer) -> None:
    schema.command("check")(check)
