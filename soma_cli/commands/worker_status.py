"""What a running worker shows on stderr, and how signals stop it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from soma_cli.output import drawable, printable, say

if TYPE_CHECKING:
    from soma_cli.core.workers.loop import Status, Worker

logger = logging.getLogger("soma")

_REDRAW_S = 0.2
_SHOWN_EACH = 4
"""With more partitions than this a line says how many they are; JSON lines have every position."""


def tell(text: str, fields: dict[str, object] | None = None) -> None:
    """A line of the log, in its format."""
    logger.info(text, extra={"soma": fields or {}})


class StatusLine:
    """One line that is redrawn on a terminal; elsewhere a log line when the state changes, and now and then."""

    def __init__(self, log_interval_s: float, *, as_json: bool = False) -> None:
        self._interval_s = log_interval_s
        self._live = drawable(sys.stderr) and not as_json
        self._as_json = as_json
        self._guard = threading.Lock()
        self._lines: dict[str, str] = {}
        self._states: dict[str, tuple[str, float, int]] = {}
        self._drawn_at = 0.0

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, status: Status) -> None:
        with self._guard:
            self._lines[status.worker] = _line(status)
            if self._live:
                self._redraw()
            elif self._worth_a_line(status):
                self._log(status)

    def _log(self, status: Status) -> None:
        if not self._as_json:
            say(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {_line(status)}")
            return
        fields = {
            "worker": status.worker,
            "state": status.state,
            "positions": {str(partition): offset for partition, offset in dict(status.positions).items()},
            "rate_per_s": round(status.rate_per_s, 1),
            **asdict(status.tally),
        }
        tell(_line(status), fields)

    def _redraw(self) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            text = "  |  ".join(map(printable, self._lines.values()))
            sys.stderr.write(f"\r\x1b[K{text[: width - 1]}")
            sys.stderr.flush()

    def _worth_a_line(self, status: Status) -> bool:
        """Trouble at once, and its end, and that partitions came; progress every few seconds, if there was any."""
        now = time.monotonic()
        state, said_at, read = self._states.get(status.worker, ("", 0.0, -1))
        trouble = status.state in ("waiting", "retrying")
        changed = state != status.state and (trouble or state in ("", "standby", "waiting", "retrying"))
        due = now - said_at >= self._interval_s and (status.tally.read != read or trouble)
        if changed or due:
            self._states[status.worker] = (status.state, now, status.tally.read)
        return changed or due

    def close(self) -> None:
        with self._guard:
            if self._live and self._lines:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self._lines.clear()


def _line(status: Status) -> str:
    # A copy: the group may take partitions away while the line is made.
    positions = dict(status.positions)
    where = ", ".join(f"{partition}@{offset}" for partition, offset in positions.items()) or "start"
    if len(positions) > _SHOWN_EACH:
        where = f"{len(positions)} partitions"
    text = f"{status.worker} {status.state} at {where}: {status.tally.read:,} read"
    if status.rate_per_s >= 1:
        text += f", {status.rate_per_s:,.0f}/s"
    if status.tally.rejected:
        text += f", {status.tally.rejected:,} rejected"
    return f"{text}; {status.detail}" if status.detail else text


class StoppedEarly(BaseException):
    """Told to stop before there was a worker; whatever it waits for, nothing is lost by leaving it."""


@contextmanager
def stopped_by_signals(
    workers: Sequence[Worker], stop: threading.Event, drain_timeout_s: float
) -> Iterator[Callable[[], str]]:
    """The first SIGTERM or SIGINT sets `stop` and lets the workers finish the batch in hand; a second one, or the drain
    running out of time, ends the process at once. `workers` may be filled later: until then there is nothing to finish,
    and the signal raises StoppedEarly. Yields a function that tells which signal came, if one did."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(128 + number)
        stop.set()
        if not workers:
            raise StoppedEarly
        for worker in workers:
            worker.stop.set()
        timer = threading.Timer(drain_timeout_s, _give_up, args=(number, drain_timeout_s))
        timer.daemon = True
        timer.start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: signal.Signals(received[0]).name if received else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up(number: int, drain_timeout_s: float) -> None:
    say(f"soma: the batch in hand did not end within {drain_timeout_s:g} s; leaving it, it will be done again")
    os._exit(128 + number)
