"""What a running worker shows on stderr."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from soma_cli.output import drawable, printable, say

if TYPE_CHECKING:
    from soma_cli.core.workers.loop import Status

logger = logging.getLogger("soma")

_REDRAW_S = 0.2
_SHOWN_EACH = 4
"""With more partitions than this a line says how many they are; JSON lines have every position."""
_BETWEEN = " | "
_LEAST_DETAIL = 8
_TROUBLE = ("retrying", "waiting", "standby")
"""The worst first. Workers in any other state keep their order, so that the line is calm."""


class _Short(NamedTuple):
    """One worker of several on a line: `head` is always shown, `detail` as far as there is room."""

    rank: int
    head: str
    detail: str


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
        self._shorts: dict[str, _Short] = {}
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
            self._shorts[status.worker] = _short(status)
            if self._live:
                self._redraw()
            elif self._worth_a_line(status):
                self._log(status)

    def explain(self, text: str) -> None:
        """For the person at the terminal; a log does not need it."""
        if sys.stderr.isatty() and not self._as_json:
            self.note(text)

    def note(self, text: str) -> None:
        """A line of its own between the status lines."""
        with self._guard:
            self._clear()
            if self._as_json:
                tell(text)
            else:
                say(f"soma: {text}")

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
            whole = list(self._lines.values())
            text = printable(whole[0]) if len(whole) == 1 else _together(self._shorts.values(), width - 1)
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
            self._clear()
            self._lines.clear()

    def _clear(self) -> None:
        if self._live and self._lines:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn_at = 0.0


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


def _short(status: Status) -> _Short:
    head = f"{status.worker} {status.state}"
    if status.state == "running" and status.rate_per_s >= 1:
        head += f" {status.rate_per_s:,.0f}/s"
    rejected = f"{status.tally.rejected:,} rejected" if status.tally.rejected else ""
    rank = _TROUBLE.index(status.state) if status.state in _TROUBLE else len(_TROUBLE)
    return _Short(rank, head, printable(status.detail or rejected))


def _together(workers: Iterable[_Short], width: int) -> str:
    """Several workers in `width` columns: the worst first, and each of them there before any detail is."""
    shown = sorted(workers, key=lambda worker: worker.rank)
    room = width - sum(len(worker.head) for worker in shown) - len(_BETWEEN) * (len(shown) - 1)
    parts = []
    for worker in shown:
        detail = worker.detail if len(worker.detail) <= room - 2 else f"{worker.detail[: max(room - 3, 0)]}…"
        fits = bool(worker.detail) and room - 2 >= min(_LEAST_DETAIL, len(worker.detail))
        parts.append(f"{worker.head}: {detail}" if fits else worker.head)
        room -= len(parts[-1]) - len(worker.head)
    return _BETWEEN.join(parts)
