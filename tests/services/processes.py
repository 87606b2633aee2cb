"""A server as a local process: start, wait until it is ready, stop, kill, pause, resume; its output in a log file.

The process gets SIGKILL from the kernel when the thread that started it ends (`setpriv --pdeathsig`): none outlives
its test run, however that ends. So start a server from the main thread, not from one that ends before the test does.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.services.ports import give_back
from tests.services.required import StartFailed, program

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
_TAIL = 40
_STANDING_STILL = frozenset("TtZX")


class ServerProcess:
    """One process with its log file. `ready` is asked again and again with the output of this start so far."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: Callable[[str], bool],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.log = log
        self._command = tied(command, user)
        self._ready = ready
        self._env = {**os.environ, **(env or {})}
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._paused: list[int] = []

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start and wait until it is ready. Raises StartFailed."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start without waiting. Does nothing if it runs."""
        if self.pid is not None:
            return
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.log.parent,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Raises StartFailed with the tail of the log when the process ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not self._ready(self.output()):
            if self._process is None or self._process.poll() is not None:
                raise StartFailed(f"{self._name} ended while it started; its output:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StartFailed(f"{self._name} was not ready after {timeout_s:g} s; its output:\n{self.tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in its orderly way; kill it when that takes longer than STOP_TIMEOUT_S."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the process; returns when it and its children are gone."""
        if self._process is None:
            return
        children = family(self._process.pid)
        self._process.kill()
        self._process.wait()
        for child in children:
            _end(child)
        self._paused = []

    def pause(self) -> None:
        """SIGSTOP for the process and its children: connections stay open, nothing answers. Returns when every thread
        stands still: on a busy machine one may go on for a while after the signal, and answer."""
        if self.pid is not None:
            self._paused = family(self.pid)
            for pid in self._paused:
                _signal(pid, signal.SIGSTOP)
            for pid in self._paused:
                _wait_until_stopped(pid)

    def resume(self) -> None:
        """SIGCONT for what was paused."""
        for pid in self._paused:
            _signal(pid, signal.SIGCONT)
        self._paused = []

    def output(self) -> str:
        """What the process wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The last lines of that."""
        return "\n".join(self.output().splitlines()[-_TAIL:]) or "(none)"

    @property
    def _name(self) -> str:
        return self.log.stem


class OnePort:
    """A server of one process on one port of loopback, both of which it keeps until its block ends."""

    port: int
    process: ServerProcess

    def start(self) -> Self:
        """Start, or start again on the same port."""
        self.process.start()
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        """Connections stay open, nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        give_back(self.port)


def tied(command: Sequence[str], user: str | None = None) -> list[str]:
    """The command so that it ends with the thread that starts it, as another user if one is named."""
    identity = ["--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--init-groups"] if user else []
    return [program("setpriv"), *identity, "--pdeathsig", "KILL", "--", *command]


def family(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, []))
    return found


def is_running(pid: int) -> bool:
    """True unless the process is gone or only waits for its parent to take notice of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(state not in _STANDING_STILL for state in _states(pid)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def _states(pid: int) -> list[str]:
    """Of each thread, the letter that proc(5) lists."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("[0-9]*/stat"):
        with suppress(OSError):
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states


def _end(pid: int) -> None:
    _signal(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
