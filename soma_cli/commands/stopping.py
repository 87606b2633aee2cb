"""How signals stop a worker: the first asks it to finish, a later one does not wait for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soma_cli.commands.worker_status import StatusLine
    from soma_cli.core.workers.loop import Worker

_SAME_SIGNAL_S = 1.0
"""`timeout` and others signal a process and then its whole group: what comes so soon after the first is its echo."""
_TELL_WITHIN_S = 0.5


class StoppedEarly(BaseException):
    """Told to stop before there was a worker; whatever it waits for, nothing is lost by leaving it."""


@contextmanager
def stopped_by_signals(
    workers: Sequence[Worker], stop: threading.Event, drain_timeout_s: float, status: StatusLine
) -> Iterator[Callable[[], str]]:
    """The first SIGTERM or SIGINT sets `stop` and lets the workers finish the batch in hand; a later one, or the drain
    running out of time, ends the process at once. `workers` may be filled later: until then there is nothing to finish,
    and the signal raises StoppedEarly. Yields a function that tells which signal came, if one did."""
    received: list[tuple[int, float]] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append((number, time.monotonic()))
        if len(received) == 1:
            stop.set()
            if not workers:
                raise StoppedEarly
            for worker in workers:
                worker.stop.set()
            _drain(number, drain_timeout_s, status)
        elif received[-1][1] - received[0][1] >= _SAME_SIGNAL_S:
            name = signal.Signals(number).name
            _leave(number, f"{name} again: leaving the batch in hand, it will be done again", status)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: signal.Signals(received[0][0]).name if received else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drain(number: int, timeout_s: float, status: StatusLine) -> None:
    late = f"the batch in hand did not end within {timeout_s:g} s; leaving it, it will be done again"
    timer = threading.Timer(timeout_s, _leave, args=(number, late, status))
    timer.daemon = True
    timer.start()
    again = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    _aside(status.explain, f"stopping when the batch in hand is done; {again} again ends it at once")


def _leave(number: int, why: str, status: StatusLine) -> None:
    _aside(status.note, why).join(_TELL_WITHIN_S)
    os._exit(128 + number)


def _aside(tell: Callable[[str], None], text: str) -> threading.Thread:
    """In a thread of its own: the one that a signal interrupts may be in the middle of writing a line itself."""
    thread = threading.Thread(target=tell, args=(text,), name="soma-told", daemon=True)
    thread.start()
    return thread
