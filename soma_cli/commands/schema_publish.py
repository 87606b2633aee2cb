"""soma schema register, soma schema mode"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, QuietOption, output_of
from soma_cli.commands.schema_options import (
    AllowRemoteOption,
    ModeChoice,
    ModeOption,
    SchemasOption,
    mode_of,
    open_schemas,
)
from soma_cli.commands.schema_report import show_subject
from soma_cli.core.errors import CheckFailed
from soma_cli.output import Format, hanging, say, table

if TYPE_CHECKING:
    from soma_cli.core.operations.schema_register import Rules
    from soma_cli.core.schema_results import RegisterResult, SchemaRegistration, SubjectCheck, SubjectMode

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Names of schemas; without any, all.", metavar="[NAME]...", show_default=False),
]
UndecidedOption = Annotated[
    bool, typer.Option("--allow-undecided", help="Let pass what could not be decided; else it is refused.")
]


def register(
    ctx: typer.Context,
    names: NamesArgument = None,
    mode: ModeOption = None,
    allow_undecided: UndecidedOption = False,
    schemas: SchemasOption = None,
    allow_remote: AllowRemoteOption = False,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Register schemas in the registry, after a check against the versions that it has; what is there stays.

    Exits 7, and registers nothing, where a schema breaks or the registry itself refuses it.

    Example: soma schema register memory.event
    """
    output = output_of(ctx, format, quiet)
    with open_schemas(ctx, schemas, allow_remote=allow_remote) as governance:
        governance.refuse_wrong_place(names or ())
        result = governance.register(names or (), rules_of(mode, allow_undecided))
    output.result(result, lambda: _show_registered(result), (one.subject for one in result.schemas if one.registered))
    if refused := [one.check for one in result.schemas if one.refused]:
        some = any(one.registered for one in result.schemas)
        raise refusal("not all were registered" if some else "nothing was registered", refused)


def rules_of(mode: ModeChoice | None, allow_undecided: bool) -> Rules:
    from soma_cli.core.operations.schema_register import Rules

    return Rules(mode_of(mode), allow_undecided)


def _show_registered(result: RegisterResult) -> None:
    for one in result.schemas:
        if one.version is None:
            _show_left_out(one)
            continue
        number = "" if one.id is None else f"id {one.id}, "
        given = ", set now: the registry asked for none" if one.mode_set else ""
        verb = "registered as" if one.registered else "already"
        hanging(
            f"{one.name}: ", f"{verb} version {one.version} of {one.subject} ({number}mode {one.check.mode}{given})"
        )
    say(f"soma: the registry is {result.registry}")


def _show_left_out(one: SchemaRegistration) -> None:
    show_subject(one.check)
    show_registrys_verdict(one.registry_compatible, one.check)
    for message in one.registry_messages:
        hanging("      ", message)


def show_registrys_verdict(compatible: bool | None, check: SubjectCheck) -> None:
    """What the registry itself says of a schema, where it is not what soma says."""
    if compatible is not None and compatible is not check.compatible:
        verdict = "compatible" if compatible else "incompatible"
        ours = {True: "compatible", False: "broken by the document above", None: "undecided"}[check.compatible]
        told = "soma was asked for nothing: the mode is NONE" if check.mode == "NONE" else f"soma says {ours}"
        hanging("    ", f"the registry itself says {verdict}; {told}")


_CHANGE = "keep accepting the documents shown, or release the change as a schema of another name"


def refusal(done: str, refused: list[SubjectCheck], hint: str = _CHANGE) -> CheckFailed:
    """What a command raises that changed nothing because of these; `hint` is for what breaks."""
    names = ", ".join(dict.fromkeys(check.subject for check in refused))
    if all(check.compatible is None for check in refused):
        return CheckFailed(
            f"{done}: {names} could not be decided",
            hint="say it in simpler words at the place shown, or look for yourself and pass --allow-undecided",
            code="schema_undecided",
        )
    if all(check.compatible is True for check in refused):
        return CheckFailed(
            f"{done}: the registry refuses {names}, which soma {_found(refused)}",
            hint="to overrule it, set its mode to NONE by `soma schema mode`, repeat this with --mode, and set it back",
            code="registry_incompatible",
        )
    return CheckFailed(
        f"{done}: {names} would break what is there",
        hint=hint,
        code="schema_incompatible",
    )


def _found(refused: list[SubjectCheck]) -> str:
    asked = any(check.mode != "NONE" for check in refused)
    return "finds compatible" if asked else "was not asked about: the mode is NONE"


def mode(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name of a schema; without, all.", metavar="[NAME]", show_default=False)
    ] = None,
    mode: Annotated[
        ModeChoice | None,
        typer.Argument(help="Mode to set; without, it is shown.", metavar="[MODE]", show_default=False),
    ] = None,
    schemas: SchemasOption = None,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Show what a new version of a schema has to keep to in the registry, or set it.

    Modes: BACKWARD, FORWARD, FULL, each also with _TRANSITIVE, and NONE.

    Example: soma schema mode memory.event BACKWARD_TRANSITIVE
    """
    output = output_of(ctx, format, quiet)
    with open_schemas(ctx, schemas) as governance:
        asked = mode_of(mode)
        if name is not None and asked is not None:
            rows = [governance.set_mode(name, asked)]
            if not governance.has(name):
                say(f"soma: {name} is no schema of {governance.folder.path}, so far; see `soma schema list`")
        else:
            rows = governance.modes([] if name is None else [name])
    output.rows(rows, _show_modes, lambda row: str(row.mode))


def _show_modes(rows: list[SubjectMode]) -> None:
    table(["name", "subject", "mode"], ((row.name, row.subject, row.mode) for row in rows))


def add_to(schema: typer.Typer) -> None:
    schema.command("register")(register)
    schema.command("mode")(mode)
