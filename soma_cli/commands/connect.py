"""soma connect"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, open_system, output_of
from soma_cli.core.errors import CheckFailed
from soma_cli.output import Format, hanging

if TYPE_CHECKING:
    from soma_cli.core.connect_results import ConnectPlan, ConnectStatus

connect = typer.Typer(help="Kafka Connect, which lands events in the store.", no_args_is_help=True)


@connect.command("apply")
def apply(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Another configuration than the one that ships with soma.", metavar="FILE"),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Make the connector, or bring it in line with the settings; start it again where it has failed.

    A second run finds nothing to do. What lands is applied by `soma consume landing`.

    Example: soma connect apply --plan
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        result = system.admin.connect.apply(file, execute=not plan)
    output.result(result, lambda: _show_plan(result))


@connect.command("status")
def status(ctx: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """Tell how the connector is, how much has yet to land and to be applied, and what to do where it has failed.

    Exits 7 where something is wrong with the connector.

    Example: soma connect status
    """
    output = output_of(ctx, format)
    with open_system(ctx, one_shot=True) as system:
        result = system.admin.connect.status()
    output.result(result, lambda: _show_status(result))
    if result.findings:
        raise CheckFailed(
            f"{result.connector}: {result.findings[0].message}",
            hint=result.findings[0].hint,
            code="connector_unwell",
            details={"state": result.state},
        )


def _show_plan(result: ConnectPlan) -> None:
    done = {
        "create": ("made", "would be made"),
        "change": ("changed", "would be changed"),
        "nothing": ("as it should be", "as it should be"),
    }[result.action][not result.executed]
    if result.action == "nothing" and result.restart_at:
        done = "configured as it should be"
    print(f"connector {result.connector} at {result.url}: {done}")
    for change in result.changes:
        if change.before is not None:
            hanging("  - ", f"{change.key}={change.before}")
        if change.after is not None:
            hanging("  + ", f"{change.key}={change.after}")
    for failure in result.failures:
        hanging("found: ", failure)
    if result.restart_at:
        again = "" if result.action == "create" else "again "
        began = f"started {again}at " if result.executed else f"would be started {again}at "
        hanging(began, ", ".join(result.restart_at))


def _show_status(result: ConnectStatus) -> None:
    print(f"connector {result.connector} at {result.url} (Kafka Connect {result.version}): {result.state}")
    for task in result.tasks:
        hanging(f"task {task.id}: ", task.state + (f" on {task.worker}" if task.worker else ""))
        if task.error:
            hanging("  ", task.error)
    since = "" if result.oldest_waiting_s is None else f", the oldest for {result.oldest_waiting_s:.1f} s"
    print(f"{result.to_land:,} offsets yet to land; {result.waiting:,} rows landed and not applied{since}")
    runs = "a landing worker runs" if result.landing_runs else "no landing worker runs"
    print(f"{result.to_apply:,} offsets yet to be applied, {runs}; what cannot land goes to {result.dead_letters}")


def add_to(app: typer.Typer) -> None:
    app.add_typer(connect, name="connect")
