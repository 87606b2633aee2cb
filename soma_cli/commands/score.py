"""soma score"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import MOST, FormatOption, open_system, output_of
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, fields

if TYPE_CHECKING:
    from soma_cli.core.results import ScoreResult
    from soma_cli.core.system import MemorySystem


class PolicyChoice(StrEnum):
    roadmap = "roadmap"
    retain = "retain"


PolicyOption = Annotated[
    PolicyChoice | None, typer.Option("--policy", help="Policy; that of the settings if not given.")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", help="Prune above this score; the settings' or the policy's if not given."),
]
NowOption = Annotated[
    str | None, typer.Option("--now", help="Score as of this time; the present if not given.", metavar="TIME")
]


def score(
    ctx: typer.Context,
    id: Annotated[str | None, typer.Argument(help="Id of the memory.", metavar="[ID]", show_default=False)] = None,
    importance: Annotated[float | None, typer.Option("--importance", help="Without an ID: its importance, 1.")] = None,
    created: Annotated[
        str | None, typer.Option("--created", help="Without an ID: when created; now.", metavar="TIME")
    ] = None,
    last_access: Annotated[
        str | None, typer.Option("--last-access", help="Without an ID: when last read; never.", metavar="TIME")
    ] = None,
    access_count: Annotated[
        int | None,
        typer.Option("--access-count", help="Without an ID: how often read; 0.", metavar="N", min=0, max=MOST),
    ] = None,
    now: NowOption = None,
    policy: PolicyOption = None,
    threshold: ThresholdOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each term with its formula and numbers.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show the prune score of a memory, or of given inputs, and when it would be pruned. Does not count as a read.

    Example: soma score --importance 1.5 --created -72h --last-access -2h --access-count 3 --explain
    """
    output = output_of(ctx, format)
    given = {"importance": importance, "created": created, "last_access": last_access, "access_count": access_count}
    inputs = {name: value for name, value in given.items() if value is not None}
    _check(id, inputs)
    with open_system(ctx, one_shot=True) as system:
        result = _scored(system, id, inputs, {"policy": policy, "threshold": threshold, "now": now})
    output.result(result, lambda: _show(result, explain), [str(result.score)])


def _check(id: str | None, inputs: Mapping[str, object]) -> None:
    if id is not None and inputs:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in inputs)
        raise UsageError(f"both an ID and {names} were given", hint="score either a memory or inputs of your own")
    if id is None and not inputs:
        raise UsageError("there is nothing to score", hint="name a memory's ID, or give --created and --importance")


def _scored(
    system: MemorySystem, id: str | None, inputs: Mapping[str, object], settings: Mapping[str, object]
) -> ScoreResult:
    if id is not None:
        return system.admin.score(id, **settings)  # type: ignore[arg-type]
    return system.admin.score_inputs(**inputs, **settings)  # type: ignore[arg-type]


def _show(result: ScoreResult, explain: bool) -> None:
    verdict = "above" if result.prune else "not above"
    fields(
        [
            ("score", f"{result.score:.6g}, {verdict} the threshold {result.threshold:g} of {result.policy}"),
            ("pruned at", _when(result)),
            ("now", result.now),
        ]
    )
    if explain:
        print()
        fields(_explained(result))


def _when(result: ScoreResult) -> str:
    if result.prunes_at is None:
        return "never, as long as nobody reads it"
    return "now" if result.prune else f"{result.prunes_at}, if nobody reads it meanwhile"


def _explained(result: ScoreResult) -> list[tuple[str, object]]:
    weights, terms, inputs = result.weights, result.terms, result.inputs
    age_h, access_h = inputs["age_s"] / 3600, inputs["since_access_s"] / 3600
    since = "last read" if inputs["last_access"] else "created (never read)"
    count, importance = inputs["access_count"], inputs["importance"]
    formulas = {
        "age": f"{weights['age']:g} * log(1 + {age_h:.6g})  [hours since created]",
        "recency": f"{weights['recency']:g} / (1 + {access_h:.6g})  [hours since {since}]",
        "access": f"{weights['access']:g} / (1 + exp(-({count} - 1)))  [times read]",
        "importance": f"-{weights['importance']:g} * {importance:g}".replace("--", ""),
    }
    rows: list[tuple[str, object]] = [(name, f"{terms[name]:+12.6f} = {formula}") for name, formula in formulas.items()]
    return [*rows, ("sum", f"{result.score:+12.6f}, pruned when above {result.threshold:g}")]


def add_to(app: typer.Typer) -> None:
    app.command("score")(score)
