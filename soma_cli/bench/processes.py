"""soma as whole processes: how long a command takes from start to exit, and what a worker costs that has no work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import soma_cli
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload, seconds
from soma_cli.bench.workload import events
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem

_FLOOR = ("soma_cli.bench.floor",)
_RUNS = 5
_IDLE_EVENTS = 1000
_IDLE_S = 4.0
_PATIENCE_S = 60.0


def environment(folder: Path) -> dict[str, str]:
    """The caller's, without settings of soma's: neither variables nor files of theirs are read."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
    packages = os.pathsep.join([str(Path(soma_cli.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return {
        **ours,
        "PYTHONPATH": packages.rstrip(os.pathsep),
        "SOMA_DATA_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }


def _milliseconds(module: Sequence[str], folder: Path) -> float:
    command = [sys.executable, "-m", *module]

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment(folder / "soma"))

    return seconds(run) * 1e3


def _against_the_floor(
    what: str, workload: Workload, soma: Sequence[str], floor: Sequence[str], bound: float, baseline_is: str
) -> Comparison:
    _milliseconds(soma, workload.folder), _milliseconds(floor, workload.folder)  # compiles what is not compiled yet
    return Comparison(
        what,
        "ms",
        Target(bound),
        lambda: _milliseconds(soma, workload.folder),
        lambda: _milliseconds(floor, workload.folder),
        baseline_is,
        rounds=_RUNS,
    )


@contextmanager
def help_page(workload: Workload) -> Iterator[Comparison]:
    ours, floor = ["soma_cli", "--help"], [*_FLOOR, "--help"]
    yield _against_the_floor("soma --help", workload, ours, floor, 1.2, "a Typer app of one command, --help")


@contextmanager
def store(workload: Workload) -> Iterator[Comparison]:
    ours = ["soma_cli", "store", "--text", "Alice prefers window seats"]
    yield _against_the_floor("soma store", workload, ours, _FLOOR, 1.8, "a Typer app of one command, run")


@contextmanager
def get(workload: Workload) -> Iterator[Comparison]:
    with MemorySystem(Settings(data_dir=workload.folder / "soma")) as system:
        id = system.store(text="Alice prefers window seats").id
    yield _against_the_floor(
        "soma get", workload, ["soma_cli", "get", id], _FLOOR, 1.8, "a Typer app of one command, run"
    )


@contextmanager
def idle_cpu(workload: Workload) -> Iterator[Comparison]:
    with _idle_worker(workload) as worker:
        target = Target(2.0, "figure")
        yield Comparison("idle worker (consume all), share of a core", "%", target, lambda: _cpu_share(worker))


@contextmanager
def idle_memory(workload: Workload) -> Iterator[Comparison]:
    with _idle_worker(workload) as worker:
        target = Target(150.0, "figure")
        yield Comparison("idle worker (consume all), memory", "MB", target, lambda: resident_mb(worker.pid))


@contextmanager
def _idle_worker(workload: Workload) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has caught up with a thousand events and waits for more."""
    if not Path("/proc/self/statm").exists():
        raise NotHere("it is read from /proc, which this system does not have")
    folder = workload.folder / "soma"
    with MemorySystem(Settings(data_dir=folder)) as system:
        system.adapters.log.append([record_of(event) for event in events(_IDLE_EVENTS)])
        command = [sys.executable, "-m", "soma_cli", "consume", "all"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=workload.folder, env=environment(folder)
        ) as worker:
            try:
                _until_caught_up(system, worker)
                yield worker
            finally:
                worker.send_signal(signal.SIGTERM)


def _until_caught_up(system: MemorySystem, worker: subprocess.Popen[bytes]) -> None:
    topic_id = system.adapters.log.topic_id(EVENTS_TOPIC)
    deadline = time.monotonic() + _PATIENCE_S
    while system.adapters.index.positions(topic_id).get(0, 0) < _IDLE_EVENTS:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise NotHere("the worker did not catch up")
        time.sleep(0.1)
    time.sleep(2.0)  # it lets go of the index after a second


def _cpu_share(worker: subprocess.Popen[bytes]) -> float:
    began, spent = time.monotonic(), _cpu_seconds(worker.pid)
    time.sleep(_IDLE_S)
    return (_cpu_seconds(worker.pid) - spent) / (time.monotonic() - began) * 100


def _cpu_seconds(pid: int) -> float:
    """User and system time. The name in parentheses may hold spaces; the fields that count come after it."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
