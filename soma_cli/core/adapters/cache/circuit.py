"""Leaves a server alone for a while after it failed, so that not every call waits for it again."""

from __future__ import annotations

import threading
import time

from soma_cli.core.errors import SomaError


class Circuit:
    """Open for `pause_s` after a failure; then one call may try, while the others are still turned away."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._fault: SomaError | None = None
        self._next_try = 0.0

    def check(self) -> None:
        """Raises the last failure again, at once, while the server is left alone."""
        if self._fault is None:  # read without the lock: the usual case costs nothing
            return
        with self._lock:
            fault, now = self._fault, time.monotonic()
            if fault is None:
                return
            if now >= self._next_try:
                self._next_try = now + self._pause_s
                return
            left_s = self._next_try - now
        message = f"{fault.message} (not asked again for {left_s:.1f} s)"
        raise type(fault)(message, hint=fault.hint, code=fault.code, details=fault.details)

    def failed(self, fault: SomaError) -> None:
        with self._lock:
            self._fault = fault
            self._next_try = time.monotonic() + self._pause_s

    def answered(self) -> None:
        if self._fault is not None:
            with self._lock:
                self._fault = None
