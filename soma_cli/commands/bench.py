"""soma bench"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, load, output_of
from soma_cli.core.errors import UsageError
from soma_cli.output import Format, say, table

if TYPE_CHECKING:
    from soma_cli.bench.comparison import Row
    from soma_cli.bench.suite import Report


def bench(
    ctx: typer.Context,
    events: Annotated[int, typer.Option("--events", help="Events to measure with.", min=100)] = 20_000,
    only: Annotated[
        str | None, typer.Option("--only", help="Rows to measure, separated by commas.", metavar="NAME,...")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", help="Rounds; the median counts.", min=1)] = 3,
    long: Annotated[bool, typer.Option("--long", help="Also a million events: minutes, and 4 GB of disk.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Measure soma's speed on this machine, each figure beside a bare baseline of the same run.

    It works in a temporary folder, and with `--profile cluster` on the servers, in topics and tables of its own; your
    data is left alone. Example: soma bench --only append,apply
    """
    from soma_cli.bench.suite import rows_of, run

    output = output_of(ctx, format)
    settings = load(ctx).settings
    known = list(rows_of(settings))
    names = list(rows_of(settings, long=long)) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no row {name!r}", hint=f"the rows are: {', '.join(known)}")
    with _ended_in_order():
        report = run(
            names,
            events=events,
            repeat=repeat,
            settings=settings,
            measuring=lambda name: say(f"soma: measuring {name}"),
        )
    output.result(report, lambda: _show(report))


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: what it made on servers is taken away first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(report: Report) -> None:
    machine = report.machine
    servers = "".join(f", {name} {version}" for name, version in report.servers.items())
    print(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb or '?'} GB, {machine.system}, "
        f"load {machine.load_1m}\n"
        f"{machine.python}, SQLite {machine.sqlite}, orjson {machine.orjson}, jsonschema-rs {machine.jsonschema_rs}, "
        f"qdrant-edge {machine.qdrant_edge}, soma {machine.soma}{servers}\n"
        f"{report.measured_at[:19]}Z, {report.events:,} events, medians of {report.repeat} rounds and more, by turns, "
        f"in {report.folder}\n"
    )
    headings = ("row", "soma", "baseline", "ratio", "target", "", "what", "baseline is")
    table(headings, [_cells(row) for row in report.rows], right=(1, 2, 3, 4))
    for row in report.rows:
        if row.more:
            print(f"{row.name}: " + ", ".join(f"{name} {value:,.2f}" for name, value in row.more.items()))
    print(f"\n{_verdict(report)}")


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}x"
    word = {True: "met", False: "missed", None: "-" if row.soma is not None else "not measured"}[row.met]
    figures = (_figure(row.soma, row.unit), _figure(row.baseline, row.unit), ratio, row.target or "-")
    return (row.name, *figures, word, row.what, row.baseline_is or row.note or "-")


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{value:.{2 if value < 100 else 0}f}{'' if unit == 'x' else ' '}{unit}"


def _verdict(report: Report) -> str:
    measured = [row for row in report.rows if row.met is not None]
    met = len(measured) - len(report.missed)
    return f"{met} of {len(measured)} targets met" + (f"; missed: {', '.join(report.missed)}" if report.missed else "")


def add_to(app: typer.Typer) -> None:
    app.command("bench")(bench)
