"""All rows, and a run over them in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soma_cli.bench import event_log, formats, long_run, memory_store, processes, vector_index
from soma_cli.bench.comparison import Benchmark, NotHere, Row, Workload, measure
from soma_cli.bench.machine import Machine, this_machine

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


@dataclass(slots=True)
class Report:
    """`missed` names the rows whose target was not met."""

    machine: Machine
    folder: str
    measured_at: str
    events: int
    repeat: int
    rows: list[Row]
    missed: list[str]
    elapsed_s: float


def run(
    names: Sequence[str], *, events: int, repeat: int, measuring: Callable[[str], None] = lambda name: None
) -> Report:
    """Measure the named rows, in their order here. Everything is written below the system's temporary folder."""
    from soma_cli.core.instants import format_instant, now_us

    machine, measured_at, began = this_machine(), format_instant(now_us()), time.monotonic()
    rows = []
    for name, benchmark in {**BENCHMARKS, **LONG}.items():
        if name in names:
            measuring(name)
            rows.append(_row(name, benchmark, events, repeat))
    missed = [row.name for row in rows if row.met is False]
    elapsed = round(time.monotonic() - began, 1)
    return Report(machine, tempfile.gettempdir(), measured_at, events, repeat, rows, missed, elapsed)


def _row(name: str, benchmark: Benchmark, events: int, repeat: int) -> Row:
    folder = Path(tempfile.mkdtemp(prefix="soma-bench-"))
    try:
        with benchmark(Workload(folder, events)) as comparison:
            return measure(name, comparison, repeat)
    except NotHere as reason:
        return Row(name, name, "", None, None, None, "", None, "", note=str(reason))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
