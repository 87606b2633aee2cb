"""One server for a whole test run: started at first use, found by all its processes, ended with the run.

A run is known by the process id of its controller: pytest itself, or the parent of pytest-xdist's workers, or a program
that uses these modules without pytest. Child processes learn it from `SOMA_TEST_RUN`. Its state lies in a folder of
its own; a lock lets one process start a server while the others wait for its address. See `keeper.py` for the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.services.folders import run_folder
from tests.services.required import StartFailed, cannot_be_had

ROOT = Path(__file__).parents[2]
_START_TIMEOUT_S = 700.0
"""Longer than a first download takes."""
_keepers: list[subprocess.Popen[bytes]] = []
_known: dict[str, str] = {}


def shared_address(server: str) -> str:
    """The address of the run's server: kafka, connect, postgres, redis, qdrant or registry; without, the test ends."""
    if server not in _known:
        _known[server] = _address(server, run_folder(_controller()))
    return _known[server]


def _address(server: str, folder: Path) -> str:
    state = folder / f"{server}.json"
    with FileLock(folder / f"{server}.lock"):
        if not state.exists():
            _start_keeper(server, state)
        told: dict[str, Any] = json.loads(state.read_text())
    if "missing" in told:
        cannot_be_had(told["missing"])
    if "failed" in told:
        raise StartFailed(told["failed"])
    return str(told["address"])


def _start_keeper(server: str, state: Path) -> None:
    log = state.with_suffix(".log")
    command = [sys.executable, "-m", "tests.services.keeper", server, str(state), str(_controller())]
    with log.open("ab") as out:
        keeper = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    # Kept, because a process object that is dropped before its process ends warns of it.
    _keepers.append(keeper)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not state.exists():
        if keeper.poll() is not None and not state.exists():
            raise StartFailed(f"the keeper of {server} ended:\n{log.read_text(errors='replace')}")
        if time.monotonic() > deadline:
            keeper.terminate()
            raise StartFailed(f"{server} was not there after {_START_TIMEOUT_S:g} s; see {log}")
        time.sleep(0.02)


def _controller() -> int:
    default = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    return int(os.environ.setdefault("SOMA_TEST_RUN", str(default)))
