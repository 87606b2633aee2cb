"""How far a worker is behind, told to its observer."""

from __future__ import annotations

import time
from collections.abc import Mapping

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.instants import MICROSECONDS, now_us
from soma_cli.core.ports import EventLog
from soma_cli.core.workers.observation import UNOBSERVED, Observer

_EVERY_S = 5.0


class LagTeller:
    """Tells now and then, also while the worker waits for something else than the log: its lag grows meanwhile."""

    def __init__(self, log: EventLog, observer: Observer, worker: str, topic: str) -> None:
        self._log = log
        self._observer = observer
        self._worker = worker
        self._topic = topic
        self._told_at = 0.0

    def tell(self, positions: Mapping[int, int]) -> None:
        """Where the log is away, what was told stands: nothing is known of it."""
        if self._observer is UNOBSERVED or time.monotonic() - self._told_at < _EVERY_S:
            return
        self._told_at = time.monotonic()
        try:
            tell_lag(self._log, self._observer, self._worker, self._topic, positions)
        except ServiceUnavailable as fault:
            self._observer.retry(self._worker, fault.code)


def tell_lag(log: EventLog, observer: Observer, worker: str, topic: str, positions: Mapping[int, int]) -> None:
    """In records, and in the seconds since the first of them was appended, for each of the partitions."""
    bounds, now = log.bounds(topic), now_us()
    for partition, position in positions.items():
        end = bounds[partition].end
        first = next(log.scan(topic, partition, position, end), None) if position < end else None
        age_s = None if first is None else max(0, now - first.appended_at) / MICROSECONDS
        observer.lag(worker, partition, max(0, end - position), age_s, topic)
