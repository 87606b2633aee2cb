"""soma lag"""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import MOST, FormatOption, open_system, output_of
from soma_cli.core.errors import CheckFailed, ServiceUnavailable, UsageError
from soma_cli.core.instants import format_instant, now_us, parse_duration_s
from soma_cli.output import Format, Output, console, drawable, printable, say, show_error, table, write_json

if TYPE_CHECKING:
    from soma_cli.core.results import Breach, GroupLag, HeldBackLag, LagReport, PartitionLag

    Look = Callable[[], LagReport]


_LONGEST_PAUSE_S = 7 * 86400.0


def lag(
    ctx: typer.Context,
    threshold: Annotated[
        int | None,
        typer.Option("--threshold", help="Exit 7 where more events are waiting.", min=0, max=MOST, metavar="EVENTS"),
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", help="Exit 7 where one has waited longer.", metavar="DURATION")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option("--interval", help="Time between two looks.", metavar="DURATION")] = "1s",
    count: Annotated[int | None, typer.Option("--count", help="With --watch: look so often.", min=1, max=MOST)] = None,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="A line for each partition, not one for each group.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show how far the projections are behind the log. Applies nothing.

    Example: soma lag --threshold 1000 --max-age 60s
    """
    output = output_of(ctx, format)
    max_age_s = None if max_age is None else _duration(max_age, "--max-age")
    pause_s = _duration(interval, "--interval", most_s=_LONGEST_PAUSE_S)
    with open_system(ctx, looks=True) as system:

        def look() -> LagReport:
            return system.admin.lag(threshold=threshold, max_age_s=max_age_s)

        report = _watch(look, pause_s, count, output, partitions) if watch else look()
        if not watch:
            output.result(report, lambda: _show(report, partitions))
    if report.breaches:
        raise _breached(report.breaches)


def _duration(text: str, option: str, most_s: float = math.inf) -> float:
    seconds = parse_duration_s(text)
    if not 0 <= seconds <= most_s:
        what = "negative" if seconds < 0 else f"more than {most_s / 86400:g} days"
        raise UsageError(f"{option} {text} is {what}", hint="write for example 60s")
    return seconds


def _nothing_yet() -> LagReport:
    from soma_cli.core.results import LagReport

    return LagReport([], [])


def _watch(look: Look, pause_s: float, count: int | None, output: Output, partitions: bool) -> LagReport:
    """The last report; one without breaches where Ctrl-C ended it, as that is the usual way to."""
    live = output.format is Format.TEXT and drawable(sys.stdout)
    try:
        return _redrawn(look, pause_s, count, partitions) if live else _streamed(look, pause_s, count, output)
    except KeyboardInterrupt:
        return _nothing_yet()


def _reports(look: Look, pause_s: float, count: int | None) -> Iterator[LagReport | ServiceUnavailable]:
    """What each look found, or why it found nothing. Raises ServiceUnavailable where that was so of the last."""
    done = 0
    while True:
        found: LagReport | ServiceUnavailable
        try:
            found = look()
        except ServiceUnavailable as error:
            found = error
        done += 1
        if done == count and isinstance(found, ServiceUnavailable):
            raise found
        yield found
        if done == count:
            return
        time.sleep(pause_s)


def _streamed(look: Look, pause_s: float, count: int | None, output: Output) -> LagReport:
    report = _nothing_yet()
    for found in _reports(look, pause_s, count):
        if isinstance(found, ServiceUnavailable):
            show_error(found, output.format)
            continue
        report = found
        if output.format is Format.TEXT:
            groups = "  |  ".join(_line(group) for group in report.groups)
            sys.stdout.write(f"{format_instant(now_us())[:19]}Z  {groups}\n")
        else:
            write_json(report)
        sys.stdout.flush()
    return report


def _redrawn(look: Look, pause_s: float, count: int | None, partitions: bool) -> LagReport:
    from rich.live import Live
    from rich.text import Text

    report, drawn = _nothing_yet(), list[str]()
    with Live(console=console(), auto_refresh=False) as live:
        for found in _reports(look, pause_s, count):
            if isinstance(found, ServiceUnavailable):
                lines = [*drawn, f"soma: {printable(found.message)}", f"      {printable(found.hint)}".rstrip()]
            else:
                report, lines = found, (drawn := _drawn(found, partitions))
            live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
    return report


def _drawn(report: LagReport, partitions: bool) -> list[str]:
    written = io.StringIO()
    with redirect_stdout(written):
        _table(report, partitions)
    return [written.getvalue(), *_notes(report), *map(_sentence, report.breaches)]


def _show(report: LagReport, partitions: bool) -> None:
    _table(report, partitions)
    for note in _notes(report):
        say(note)


def _table(report: LagReport, partitions: bool) -> None:
    table(
        ["group", "partition", "committed", "end", "lag", "oldest", "rate", "time left", "state"],
        [row for group in report.groups for row in _rows(group, partitions)],
        right=[2, 3, 4, 5, 6, 7],
    )


def _rows(group: GroupLag, partitions: bool) -> Iterator[list[object]]:
    """One for the group, unless each partition is asked for."""
    rate = None if group.rate_per_s is None else f"{group.rate_per_s:,.0f}/s"
    whole: list[object] = [_time(group.oldest_age_s), rate, _time(group.eta_s), group.state.replace("_", " ")]
    shown = group.partitions if partitions or len(group.partitions) < 2 else [_together(group)]
    for row in shown:
        place = f"{row.topic}/{row.partition}" if row in group.partitions else _which(group)
        done = len(shown) > 1 and not row.lag  # what is told of the group is none of its doing
        told = [None, None, None, whole[-1]] if done else whole
        yield [group.group, place, f"{row.committed:,}", f"{row.end:,}", f"{row.lag:,}", *told]


def _together(group: GroupLag) -> PartitionLag:
    from soma_cli.core.results import PartitionLag

    rows = group.partitions
    sums = [sum(getattr(row, name) for row in rows) for name in ("committed", "end", "lag")]
    return PartitionLag(rows[0].topic, -1, *sums)


def _which(group: GroupLag) -> str:
    """How many partitions, and which of them is furthest behind."""
    worst = max(group.partitions, key=lambda row: row.lag)
    return f"{len(group.partitions)} partitions" + (f", most in {worst.partition}" if worst.lag else "")


def _line(group: GroupLag) -> str:
    oldest = f", oldest {_time(group.oldest_age_s)}" if group.oldest_age_s is not None else ""
    rate = f", {group.rate_per_s:,.0f}/s" if group.rate_per_s else ""
    return f"{group.group} {group.state.replace('_', ' ')}, lag {group.lag:,}{oldest}{rate}"


def _notes(report: LagReport) -> Iterator[str]:
    stopped = [group for group in report.groups if group.state == "stopped"]
    # A log that has an audit is a cluster's: there nothing but workers moves a projection on.
    by_workers = any(group.group.endswith("-audit") for group in report.groups)
    for group in stopped:
        name = group.group.rpartition("-")[2]
        reader = "search" if name == "vector" else "read"
        applies = f"start `soma consume {name}`"
        if not by_workers:
            applies = f"the next {reader} applies what waits, or `soma consume {name}` does"
        yield f"{group.group}: no worker runs; {applies}"
    yield from map(_held_back, report.held_back)
    for group in report.groups:
        if group.state == "unserved":
            which = ", ".join(map(str, group.unserved))
            yield f"{group.group}: workers run, but none has partition {which}; see `soma doctor`"
        if group.state == "out_of_range":
            yield f"{group.group}: its position lies behind the end of the log; see `soma doctor`"


def _held_back(row: HeldBackLag) -> str:
    events = "1 event" if row.offsets == 1 else f"{row.offsets:,} events"
    age = "" if row.oldest_age_s is None else f", the first for {_time(row.oldest_age_s)}"
    return (
        f"{row.topic}/{row.partition}: an open transaction holds back {events} from all readers{age}; see `soma doctor`"
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _sentence(breach: Breach) -> str:
    if breach.what == "lag":
        return f"{breach.group} is {breach.value:,.0f} events behind, more than {breach.limit:,.0f}"
    if breach.what == "oldest_age_s":
        return f"{breach.group} has kept an event waiting for {_time(breach.value)}, more than {_time(breach.limit)}"
    return f"{breach.group} is at {breach.value:.0f}, but the log ends at {breach.limit:.0f}"


def _breached(breaches: list[Breach]) -> CheckFailed:
    lost = any(breach.what == "out_of_range" for breach in breaches)
    return CheckFailed(
        "; ".join(map(_sentence, breaches)),
        hint="see `soma doctor`" if lost else "run `soma consume all`, or wait for the one that runs",
        code="lag_breached",
        details={"breaches": breaches},
    )


def add_to(app: typer.Typer) -> None:
    app.command("lag")(lag)
