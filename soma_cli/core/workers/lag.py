"""How far a worker is behind, told to its observer."""

from __future__ import annotations

from collections.abc import Mapping

from soma_cli.core.instants import MICROSECONDS, now_us
from soma_cli.core.ports import EventLog
from soma_cli.core.workers.observation import Observer


def tell_lag(log: EventLog, observer: Observer, worker: str, topic: str, positions: Mapping[int, int]) -> None:
    """In records, and in the seconds since the first of them was appended, for each of the partitions."""
    bounds, now = log.bounds(topic), now_us()
    for partition, position in positions.items():
        end = bounds[partition].end
        first = next(log.scan(topic, partition, position, end), None) if position < end else None
        age_s = None if first is None else max(0, now - first.appended_at) / MICROSECONDS
        observer.lag(worker, partition, max(0, end - position), age_s, topic)
