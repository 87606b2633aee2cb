"""soma consume"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import MOST, FormatOption, open_system, output_of
from soma_cli.commands.stopping import StoppedEarly, stopped_by_signals
from soma_cli.commands.worker_status import StatusLine, tell
from soma_cli.output import Format, Output

if TYPE_CHECKING:
    from soma_cli.core.results import ConsumeResult
    from soma_cli.core.workers.loop import Worker


class WorkerName(StrEnum):
    kv = "kv"
    vector = "vector"
    audit = "audit"
    latest = "latest"
    embed = "embed"
    landing = "landing"
    all = "all"


class LogFormat(StrEnum):
    text = "text"
    json = "json"


def consume(
    ctx: typer.Context,
    worker: Annotated[WorkerName, typer.Argument(help="The worker to run.", show_default=False)],
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the end that the log has now.")] = False,
    max_events: Annotated[
        int | None, typer.Option("--max-events", help="Stop after so many records.", min=1, max=MOST)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Read again from here: beginning, N, -N or stored.", metavar="OFFSET"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Most records at once.", min=1, max=MOST)
    ] = None,
    max_rejects: Annotated[
        int | None,
        typer.Option("--max-rejects", help="Rejects in a row that stop kv; 0 for any number.", min=0, max=MOST),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port", help="Serve metrics and health on this port; 0 for a free one.", min=0, max=65535
        ),
    ] = None,
    instance_id: Annotated[
        str | None,
        typer.Option("--instance-id", help="Keep this name in the group over a restart (kafka).", metavar="NAME"),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Log lines on stderr as text or as JSON objects.")
    ] = LogFormat.text,
    format: FormatOption = Format.TEXT,
) -> None:
    """Run a worker: follow the log and keep a projection up to date, until SIGTERM or Ctrl-C.

    Example: soma consume all
    """
    from soma_cli.core.garbage import collected_rarely

    output = output_of(ctx, format)
    began = time.monotonic()
    with open_system(ctx, log_format=log_format.value, settings={"log.instance_id": instance_id}) as system:
        names = system.admin.worker_names(worker.value)
        status = StatusLine(system.settings.worker.log_interval_s, as_json=log_format is LogFormat.json)
        metrics = None if metrics_port is None else system.admin.metrics_server(names, metrics_port)
        if metrics is not None:
            tell(f"metrics and health at {metrics.url}")

        def make() -> list[Worker]:
            return [
                system.admin.worker(
                    name,
                    until_end=until_end,
                    max_events=max_events,
                    start=start,
                    batch_size=batch_size,
                    max_rejects=max_rejects,
                    report=status.show,
                    observer=None if metrics is None else metrics.observer,
                )
                for name in names
            ]

        workers: list[Worker] = []
        stop = threading.Event()
        with status, stopped_by_signals(workers, stop, system.settings.worker.drain_timeout_s, status) as why:
            try:
                with suppress(StoppedEarly):
                    # Who asks for the end that the log has now wants to know where there is none to be had.
                    workers += make() if until_end else system.admin.begin_workers(make, stop, tell)
                with collected_rarely():
                    system.admin.run_workers(workers)
            finally:
                status.close()
                if metrics is not None:
                    metrics.close()
                _summarise(output, names, workers, time.monotonic() - began)
        tell(f"{worker.value} stopped: {why() or ('reached the end' if until_end else 'read enough')}")


def _summarise(output: Output, names: list[str], workers: list[Worker], elapsed_s: float) -> None:
    """A list for `all`, one object for one worker; nothing where there was none to report on."""
    results = [each.result(round(elapsed_s, 3)) for each in workers]
    if len(names) > 1 and results:
        output.rows(results, _show_all, lambda result: result.worker)
    elif results:
        output.result(results[0], lambda: _show(results[0]))


def _show_all(results: list[ConsumeResult]) -> None:
    for result in results:
        _show(result)


def _show(result: ConsumeResult) -> None:
    counts = ("applied", "duplicate", "ignored", "rejected", "redelivered")
    shown = ", ".join(f"{getattr(result, name):,} {name}" for name in counts if getattr(result, name))
    positions = ", ".join(f"{partition}@{offset}" for partition, offset in result.last_positions.items())
    print(
        f"{result.worker}: read {result.read:,}" + (f" ({shown})" if shown else "")
        + (f", last position {positions}" if positions else "") + f", {result.elapsed_s:.1f} s"
    )  # fmt: skip


def add_to(app: typer.Typer) -> None:
    app.command("consume")(consume)
