"""The kv worker as a process of its own: what it costs, and whether its memory stays flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.place import place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload
from soma_cli.bench.processes import environment, resident_mb
from soma_cli.bench.workload import events
from soma_cli.core.settings import Settings

LONG_EVENTS = 1_000_000
_PART = 10_000
_SAMPLE_S = 0.2
_LOOK_S = 0.02
_STOP_S = 20.0


def start(settings: Settings, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """`soma consume kv` with these settings, which it reads from a file that nobody else may read."""
    file = folder / "worker.yaml"
    file.touch(mode=0o600)
    file.write_text(json.dumps(_given(asdict(settings)), default=str), encoding="utf-8")
    command = [sys.executable, "-m", "soma_cli", "--config", str(file), "consume", "kv", *options]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=folder, env=environment(folder / "soma"))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is null: that means the default."""
    present = {name: value for name, value in values.items() if value is not None}
    return {name: _given(value) if isinstance(value, dict) else value for name, value in present.items()}


def stop(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


class _Used(NamedTuple):
    cpu_s: float
    peak_mb: float


def _run_to_the_end(settings: Settings, folder: Path) -> _Used:
    """The peak is looked at from outside: what the system tells at the end counts the memory of this process, too."""
    peak_mb = 0.0
    worker = start(settings, folder, "--until-end")
    try:
        while not (ended := os.wait4(worker.pid, os.WNOHANG))[0]:
            with suppress(OSError, IndexError):  # it has just ended
                peak_mb = max(peak_mb, resident_mb(worker.pid))
            time.sleep(_LOOK_S)
    except BaseException:
        stop(worker)
        raise
    _, status, used = ended
    worker.returncode = os.waitstatus_to_exitcode(status)
    if worker.returncode:
        raise NotHere(f"the worker ended with {worker.returncode}")
    return _Used(used.ru_utime + used.ru_stime, peak_mb)


@contextmanager
def cost(workload: Workload) -> Iterator[Comparison]:
    """A run over an empty topic tells what starting costs; it is taken off."""
    if not Path("/proc/self/statm").exists():
        raise NotHere("it is read from /proc, which this system does not have")
    with place(workload) as at:
        idle = _run_to_the_end(at.tables(), workload.folder)
        count = fill(at.settings, at.topic, MIDDLE.events(workload))
        more: dict[str, float] = {}

        def ours() -> float:
            used = _run_to_the_end(at.tables(), workload.folder)
            more.update({"peak memory MB": used.peak_mb, "start and end CPU s": idle.cpu_s})
            return (used.cpu_s - idle.cpu_s) / count * 100_000

        yield Comparison("CPU of the kv worker per 100,000 events of 1 KB", "s", None, ours, more=more)


@contextmanager
def memory(workload: Workload) -> Iterator[Comparison]:
    """The worker's median memory in the last fifth of the run against that in the second fifth."""
    if not Path("/proc/self/statm").exists():
        raise NotHere("it is read from /proc, which this system does not have")
    more: dict[str, float] = {}
    with place(workload) as at:
        for _ in range(LONG_EVENTS // _PART):
            fill(at.settings, at.topic, events(_PART))
        yield Comparison(
            f"memory of a kv worker over {LONG_EVENTS:,} events, end against begin",
            "x",
            Target(1.1, "figure"),
            lambda: _growth(at.tables(), workload.folder, more),
            once=True,
            more=more,
        )


def _growth(settings: Settings, folder: Path, more: dict[str, float]) -> float:
    samples, began = [], time.monotonic()
    worker = start(settings, folder, "--until-end")
    try:
        while worker.poll() is None:
            samples.append(resident_mb(worker.pid))
            time.sleep(_SAMPLE_S)
    finally:
        stop(worker)
    if worker.returncode or len(samples) < 10:
        raise NotHere(f"the worker ended with {worker.returncode}")
    fifth = len(samples) // 5
    early, late = median(samples[fifth : 2 * fifth]), median(samples[-fifth - 1 : -1])
    more.update({"MB in the second fifth": early, "MB in the last fifth": late})
    more["events a second"] = LONG_EVENTS / (time.monotonic() - began)
    return late / early
