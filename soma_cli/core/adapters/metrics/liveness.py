"""Whether workers go round: each must give a sign of life within a time, else it hangs."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple


class Sign(NamedTuple):
    """A worker's last sign of life: its state then, and how long ago."""

    worker: str
    state: str
    detail: str
    silent_s: float


class Liveness:
    """Signs of life of the workers of this process. A stopped worker need not give any."""

    def __init__(self, silent_after_s: float) -> None:
        self.silent_after_s = silent_after_s
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._states: dict[str, tuple[str, str]] = {}
        self._turns: dict[str, float] = {}

    def turn(self, worker: str, state: str | None = None, detail: str = "") -> None:
        with self._lock:
            self._turns[worker] = time.monotonic()
            if state is not None:
                self._states[worker] = (state, detail)

    def signs(self) -> list[Sign]:
        now = time.monotonic()
        with self._lock:
            return [
                Sign(worker, *self._states.get(worker, ("starting", "")), now - at)
                for worker, at in sorted(self._turns.items())
            ]

    def fault(self) -> str:
        """Why the process is not alive; "" where it is."""
        signs = self.signs()
        if not signs and time.monotonic() - self._began > self.silent_after_s:
            return f"no worker has begun within {self.silent_after_s:g} s"
        silent = [sign for sign in signs if sign.state != "stopped" and sign.silent_s > self.silent_after_s]
        return "; ".join(
            f"the worker {sign.worker} has made no turn for {sign.silent_s:.0f} s; it was {sign.state}"
            + (f" ({sign.detail})" if sign.detail else "")
            for sign in silent
        )
