"""soma schema promote"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    ExecuteOption,
    FormatOption,
    QuietOption,
    YesOption,
    confirm,
    globals_of,
    output_of,
)
from soma_cli.commands.schema_options import ModeOption, SchemasOption, open_schemas
from soma_cli.commands.schema_publish import NamesArgument, UndecidedOption, refusal, rules_of, show_registrys_verdict
from soma_cli.commands.schema_report import show_subject
from soma_cli.output import Format, fields, hanging, progress

if TYPE_CHECKING:
    from soma_cli.core.governance import Governance
    from soma_cli.core.schema_results import PromotionPlan, SubjectCheck, SubjectPromotion, VersionCopy

_RELEASED = (
    "a released version cannot be changed; where the readers there can take it, repeat this with --mode, and set the "
    "mode of the other registry with `soma schema mode` where it refuses as well"
)


def promote(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", help="Profile whose registry has the versions.", metavar="PROFILE")],
    target: Annotated[str, typer.Option("--to", help="Profile whose registry gets them.", metavar="PROFILE")],
    names: NamesArgument = None,
    mode: ModeOption = None,
    allow_undecided: UndecidedOption = False,
    schemas: SchemasOption = None,
    execute: ExecuteOption = False,
    yes: YesOption = False,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Show which versions one registry lacks of another's; with --execute, copy them, in their order.

    All are checked before any is copied; exits 7, and copies nothing, where one breaks.

    Example: soma schema promote --from staging --to production
    """
    output = output_of(ctx, format, quiet)
    people = format is Format.TEXT and not quiet
    with _registry_of(ctx, source, schemas) as ours, _registry_of(ctx, target, schemas) as theirs:
        rules = rules_of(mode, allow_undecided)
        plan = ours.plan_promotion(theirs, names or (), rules)
        if people:
            _show_plan(plan)
        wanted, refused = len(_wanted(plan)), _refused(plan)
        if execute and not refused and (not wanted or confirm(_question(plan, wanted), yes=yes)):
            with progress("copying", wanted) as advance, _telling(plan, wanted):
                plan = ours.promote(theirs, plan, advance)
    output.result(plan, lambda: _show_outcome(plan, wanted), (f"{one} {copy.becomes}" for one, copy in _wanted(plan)))
    if refused:
        raise refusal("nothing was copied", refused, _RELEASED)


@contextmanager
def _telling(plan: PromotionPlan, wanted: int) -> Iterator[None]:
    """Says how far it came where it fails."""
    from soma_cli.core.errors import SomaError

    try:
        yield
    except SomaError as error:
        error.message = f"{error.message}; copied before: {plan.copied} of {wanted}"
        error.details["copied"] = plan.copied
        raise


@contextmanager
def _registry_of(ctx: typer.Context, profile: str, schemas: Path | None) -> Iterator[Governance]:
    """With the settings of another profile than that of the command line."""
    options = globals_of(ctx)
    before, options.profile = options.profile, profile
    try:
        with open_schemas(ctx, schemas) as governance:
            yield governance
    finally:
        options.profile = before


def _wanted(plan: PromotionPlan) -> list[tuple[str, VersionCopy]]:
    """Subject and version of what is to be copied, or was."""
    return [(one.subject, copy) for one in plan.schemas for copy in one.versions if copy.wanted]


def _refused(plan: PromotionPlan) -> list[SubjectCheck]:
    return [copy.check for _, copy in _wanted(plan) if copy.refused and copy.check is not None]


def _question(plan: PromotionPlan, wanted: int) -> str:
    return f"versions to copy to {plan.target}: {wanted}. Go ahead?"


def _show_plan(plan: PromotionPlan) -> None:
    fields([("from", plan.source), ("to", plan.target)])
    for one in plan.schemas:
        given = ", given by soma: the registry asks for nothing" if one.mode_set else ""
        renamed = "" if one.source_subject == one.subject else f"{one.source_subject} there, "
        called = "" if one.name == one.subject else f"{one.name}, "
        print()
        hanging("", f"{one.subject} ({called}{renamed}mode {one.mode}{given})")
        for copy in one.versions:
            _show_copy(copy)
        _show_strangers(one)
    sys.stdout.flush()


def _show_copy(copy: VersionCopy) -> None:
    if copy.passed_over:
        hanging("  ", f"version {copy.version} is passed over: a newer one is there already")
        return
    number = f" as version {copy.becomes}" if copy.becomes != copy.version else ""
    if copy.there:
        hanging("  ", f"version {copy.version} is there already{number}")
        return
    hanging("  ", f"version {copy.version} is to be copied{number}")
    if copy.check is not None and (copy.refused or copy.check.compatible is not True):
        show_subject(copy.check)
        show_registrys_verdict(copy.registry_compatible, copy.check)


def _show_strangers(one: SubjectPromotion) -> None:
    if one.only_there:
        numbers = ", ".join(map(str, one.only_there))
        hanging("  ", f"version {numbers} there is none of the first registry's: the numbers will differ")


def _show_outcome(plan: PromotionPlan, wanted: int) -> None:
    if plan.executed:
        print(f"copied {plan.copied} of {wanted}" if wanted else f"nothing to copy: {_all_there(plan)}")
    elif not _refused(plan):
        print("nothing was changed" + ("; add --execute to copy" if wanted else f": {_all_there(plan)}"))


def _all_there(plan: PromotionPlan) -> str:
    passed = any(copy.passed_over for one in plan.schemas for copy in one.versions)
    return "the newest versions are there already" if passed else "all versions are there already"


def add_to(schema: typer.Typer) -> None:
    schema.command("promote")(promote)
