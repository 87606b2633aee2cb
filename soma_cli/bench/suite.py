"""All rows, and a run over them in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soma_cli.bench import event_log, formats, long_run, memory_store, processes, vector_index
from soma_cli.bench.comparison import Benchmark, NotHere, Row, Workload, measure
from soma_cli.bench.machine import Machine, this_machine
from soma_cli.core.settings import Settings

BENCHMARKS: dict[str, Benchmark] = {
    "validate": formats.validate,
    "encode": formats.encode,
    "decode": formats.decode,
    "append": event_log.append,
    "read": event_log.read,
    "write": event_log.single_write,
    "apply": memory_store.apply,
    "follow": memory_store.follow,
    "rebuild": memory_store.rebuild,
    "compare": memory_store.compare,
    "upsert": vector_index.upsert,
    "search": vector_index.search,
    "help": processes.help_page,
    "store": processes.store,
    "get": processes.get,
    "idle-cpu": processes.idle_cpu,
    "idle-memory": processes.idle_memory,
}
LONG: dict[str, Benchmark] = {"memory": long_run.memory}


def rows_of(settings: Settings, *, long: bool = True) -> dict[str, Benchmark]:
    """The rows that these settings are measured by: the servers', or the embedded ones."""
    if not is_cluster(settings):
        return BENCHMARKS | (LONG if long else {})
    from soma_cli.bench.cluster.rows import CLUSTER, CLUSTER_LONG

    return CLUSTER | (CLUSTER_LONG if long else {})


def is_cluster(settings: Settings) -> bool:
    return settings.log.kind == "kafka" and settings.store.kind == "postgres"


@dataclass(slots=True)
class Report:
    """`missed` names the rows whose target was not met; `servers` has the versions of those that were measured, by
    name, and is empty for the embedded rows."""

    machine: Machine
    folder: str
    measured_at: str
    events: int
    repeat: int
    rows: list[Row]
    missed: list[str]
    elapsed_s: float
    servers: dict[str, str] = field(default_factory=dict)


def run(
    names: Sequence[str],
    *,
    events: int,
    repeat: int,
    settings: Settings | None = None,
    measuring: Callable[[str], None] = lambda name: None,
) -> Report:
    """Measure the named rows, in their order here. Everything is written below the system's temporary folder, and, with
    the settings of a cluster, on its servers, in places of the benchmark's own that it takes away again.

    Raises ServiceUnavailable where such a server cannot be reached.
    """
    from soma_cli.core.instants import format_instant, now_us

    settings = settings or Settings()
    machine, measured_at, began = this_machine(), format_instant(now_us()), time.monotonic()
    servers = _servers(settings)
    rows = []
    for name, benchmark in rows_of(settings).items():
        if name in names:
            measuring(name)
            rows.append(_row(name, benchmark, events, repeat, settings))
    missed = [row.name for row in rows if row.met is False]
    elapsed = round(time.monotonic() - began, 1)
    return Report(machine, tempfile.gettempdir(), measured_at, events, repeat, rows, missed, elapsed, servers)


def _servers(settings: Settings) -> dict[str, str]:
    if not is_cluster(settings):
        return {}
    from soma_cli.bench.cluster.servers import versions

    return versions(settings)


def _row(name: str, benchmark: Benchmark, events: int, repeat: int, settings: Settings) -> Row:
    folder = Path(tempfile.mkdtemp(prefix="soma-bench-"))
    try:
        with benchmark(Workload(folder, events, settings)) as comparison:
            return measure(name, comparison, repeat)
    except NotHere as reason:
        return Row(name, name, "", None, None, None, "", None, "", note=str(reason))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
