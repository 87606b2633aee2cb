"""Named checks that really look, each within a time, their answers kept for a moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from soma_cli.core.errors import SomaError

logger = logging.getLogger("soma")

Check = Callable[[], object]
"""Returns where all is well, else raises; the message is shown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    ok: bool
    message: str


class _Look:
    """One check on a thread of its own, which a server that never answers may hold for ever."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._began = time.monotonic()
        self._verdict: Verdict | None = None
        self._thread = threading.Thread(target=self._run, name=f"readiness {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._check()
            self._verdict = Verdict(self._name, True, "")
        except SomaError as error:
            self._verdict = Verdict(self._name, False, error.message)
        except Exception as error:
            # Its words are nobody's promise and may hold a password: they go to the log, not to whoever asks.
            logger.exception("the check %s failed", self._name)
            self._verdict = Verdict(self._name, False, f"the check itself failed ({type(error).__name__})")

    def verdict(self, deadline: float) -> Verdict | None:
        """None where there is none by then."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._verdict

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def waits_s(self) -> float:
        return time.monotonic() - self._began


class Readiness:
    """Runs the checks side by side. One that has not come back is not started a second time, and not ready."""

    def __init__(self, checks: Mapping[str, Check], timeout_s: float, keep_s: float) -> None:
        self._checks = dict(checks)
        self._timeout_s = timeout_s
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._pending: dict[str, _Look] = {}
        self._kept: list[Verdict] = []
        self._kept_until = float("-inf")

    def verdicts(self) -> list[Verdict]:
        """One a check, in their order, at most `keep_s` old."""
        with self._lock:
            if time.monotonic() >= self._kept_until:
                self._kept = self._look()
                self._kept_until = time.monotonic() + self._keep_s
            return self._kept

    def _look(self) -> list[Verdict]:
        for name, check in self._checks.items():
            late = self._pending.get(name)
            if late is None or late.is_over():  # an answer that came too late may be an old one by now
                self._pending[name] = _Look(name, check)
        deadline = time.monotonic() + self._timeout_s
        return [self._verdict(name, deadline) for name in self._checks]

    def _verdict(self, name: str, deadline: float) -> Verdict:
        look = self._pending[name]
        verdict = look.verdict(deadline)
        if verdict is None:
            return Verdict(name, False, f"no answer for {look.waits_s():.1f} s")
        del self._pending[name]
        return verdict
