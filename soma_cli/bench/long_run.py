"""Whether a worker's memory stays flat over a million events."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload
from soma_cli.bench.processes import environment, resident_mb
from soma_cli.bench.workload import events
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem

EVENTS = 1_000_000
_PART = 10_000
_SAMPLE_S = 0.2


@contextmanager
def memory(workload: Workload) -> Iterator[Comparison]:
    """The worker's median memory in the last fifth of the run against that in the second fifth."""
    folder = workload.folder / "soma"
    with MemorySystem(Settings(data_dir=folder)) as system:
        for _ in range(EVENTS // _PART):
            system.adapters.log.append([record_of(event) for event in events(_PART)])
    command = [sys.executable, "-m", "soma_cli", "consume", "kv", "--until-end"]

    def ours() -> float:
        samples = []
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=workload.folder, env=environment(folder)
        ) as worker:
            while worker.poll() is None:
                samples.append(resident_mb(worker.pid))
                time.sleep(_SAMPLE_S)
        if worker.returncode or len(samples) < 10:
            raise NotHere(f"the worker ended with {worker.returncode}")
        fifth = len(samples) // 5
        return median(samples[-fifth - 1 : -1]) / median(samples[fifth : 2 * fifth])

    yield Comparison(
        f"memory of a kv worker over {EVENTS:,} events, end against begin", "x", Target(1.1, "figure"), ours, once=True
    )
