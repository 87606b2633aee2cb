"""Other processes at the same log or store: they are what a contract of durability and concurrency is about."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from tests.contracts.adapters import LOGS, STORES
from tests.contracts.events import *
ADAPTER, PLACE, ARGUMENTS = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
"""


def start(script: str, adapter: str, place: Path, *arguments: object) -> subprocess.Popen[str]:
    """Run a script that finds `LOGS`, `STORES`, `ADAPTER`, `PLACE` and `ARGUMENTS` defined."""
    command = [sys.executable, "-W", "error", "-c", _PREAMBLE + script, adapter, str(place), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def output(process: subprocess.Popen[str], *, killed: bool = False) -> str:
    """What it printed, after it ended as expected: well, or by SIGKILL."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == (-9 if killed else 0), stderr
    return stdout


def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
