"""soma prune"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import (
    MOST,
    ExecuteOption,
    FormatOption,
    NamespaceOption,
    QuietOption,
    YesOption,
    confirm,
    open_system,
    output_of,
)
from soma_cli.commands.score import NowOption, PolicyOption, ThresholdOption
from soma_cli.commands.store import ActorOption
from soma_cli.core.instants import parse_instant
from soma_cli.output import Format, fields, printable, progress, say, table

if TYPE_CHECKING:
    from soma_cli.core.results import PrunePlan, Selected

_SHOWN = 50
_HOUR_US = 3_600_000_000


def prune(
    ctx: typer.Context,
    policy: PolicyOption = None,
    threshold: ThresholdOption = None,
    namespace: NamespaceOption = None,
    now: NowOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", help="Select at most so many, highest scores first.", min=1, max=MOST)
    ] = None,
    execute: ExecuteOption = False,
    yes: YesOption = False,
    actor: ActorOption = None,
    format: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Show which memories a policy would forget; with --execute, forget them. What changes meanwhile is kept.

    Example: soma prune --policy retain --namespace travel --limit 100
    """
    output = output_of(ctx, format, quiet)
    people = format is Format.TEXT and not quiet
    with open_system(ctx) as system:
        plan = system.admin.prune(policy=policy, threshold=threshold, namespace=namespace, now=now, limit=limit)
        if people:
            _show_plan(plan)
        if execute and (not plan.selected or confirm(_question(plan), yes=yes)):
            with progress("deleting", len(plan.selected)) as advance:
                plan = system.admin.execute_prune(plan, actor=actor, progress=advance)
    output.result(plan, lambda: _show_outcome(plan, execute), _ids(plan))
    if plan.skipped and not people:
        say(_skipped_sentence(plan))


def _question(plan: PrunePlan) -> str:
    return f"memories to delete: {len(plan.selected):,} (above {plan.threshold:g} by {plan.policy}). Go ahead?"


def _ids(plan: PrunePlan) -> list[str]:
    kept = {skipped.id for skipped in plan.skipped}
    return [selected.id for selected in plan.selected if selected.id not in kept]


def _show_plan(plan: PrunePlan) -> None:
    of = f" of {plan.matching:,} above the threshold" if plan.matching > len(plan.selected) else ""
    fields(
        [
            ("policy", f"{plan.policy}: {', '.join(f'{name} {value:g}' for name, value in plan.weights.items())}"),
            ("threshold", f"{plan.threshold:g}"),
            ("now", plan.now),
            ("considered", f"{plan.considered:,}"),
            ("selected", f"{len(plan.selected):,}{of}"),
        ]
    )
    print(_meaning(plan))
    if plan.selected:
        print()
        _show_selected(plan)
    sys.stdout.flush()


def _meaning(plan: PrunePlan) -> str:
    """What these weights mean: the sign of two of them is easily taken for its opposite."""
    hours = plan.unread_selected_after_hours
    when = "is never selected" if hours is None else f"is selected after {hours:,.1f} hours"
    return f"A memory of importance 1 that nobody reads {when}. {_effects(plan.weights)}".rstrip()


def _effects(weights: dict[str, float]) -> str:
    kinds = {"recent": weights["recency"], "frequent": weights["access"]}
    sentences = []
    for effect, likely, sign in (("raises", "more", 1), ("lowers", "less", -1)):
        names = [name for name, weight in kinds.items() if weight * sign > 0]
        if names:
            sentences.append(f"A {' or '.join(names)} access {effect} the score and makes pruning {likely} likely.")
    return " ".join(sentences)


def _show_selected(plan: PrunePlan) -> None:
    terms = ("age", "recency", "access", "importance")
    table(
        ["id", "score", *terms, "old", "last read", "text"],
        (
            (
                selected.id,
                f"{selected.score:.4f}",
                *(f"{selected.terms[name]:+.4f}" for name in terms),
                _old(selected, plan),
                f"{selected.last_access[:19]}Z" if selected.last_access else "never",
                printable(selected.text),
            )
            for selected in plan.selected[:_SHOWN]
        ),
        right=[1, 2, 3, 4, 5, 6],
    )
    if len(plan.selected) > _SHOWN:
        print(f"... and {len(plan.selected) - _SHOWN:,} more; `-o json` shows all")


def _old(selected: Selected, plan: PrunePlan) -> str:
    hours = max(0, parse_instant(plan.now) - parse_instant(selected.created_at)) / _HOUR_US
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _show_outcome(plan: PrunePlan, wanted: bool) -> None:
    if plan.executed:
        print(f"\ndeleted {plan.appended - len(plan.skipped):,} of {len(plan.selected):,} selected memories")
        for skipped in plan.skipped[:_SHOWN]:
            print(f"kept {skipped.id}: {skipped.note}")
        if plan.skipped:
            print(_skipped_sentence(plan))
    else:
        say("nothing was deleted" + ("" if wanted else "; --execute deletes what is selected"))


def _skipped_sentence(plan: PrunePlan) -> str:
    return f"{len(plan.skipped):,} changed after they were scored and were kept; this is no failure"


def add_to(app: typer.Typer) -> None:
    app.command("prune")(prune)
