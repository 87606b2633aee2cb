"""How far each partition reaches at least, by what this process was told.

A broker that was cut off or stood still leads a partition by its own account until it hears of the new leader, and its
end is then an old one. An end never falls as long as the log loses nothing. What was only acknowledged, an open
transaction before it may keep from readers; what was read, or answered as readable, it may not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping


class Reached:
    """By topic id, so that a topic that was made anew begins at nothing. Safe with several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[tuple[str, int, bool], int] = {}

    def note(self, topic_id: str, ends: Mapping[int, int], *, readable: bool) -> None:
        with self._lock:
            for partition, end in ends.items():
                if end > self._ends.get((topic_id, partition, readable), 0):
                    self._ends[topic_id, partition, readable] = end

    def above(self, topic_id: str, ends: Mapping[int, int], *, readable: bool) -> dict[int, int]:
        """How far those partitions reach that can't end where `ends` says."""
        with self._lock:
            known = {partition: self._ends.get((topic_id, partition, readable), 0) for partition in ends}
        return {partition: known[partition] for partition, end in ends.items() if end < known[partition]}

    def forget(self, topic_id: str, partitions: Iterable[int]) -> None:
        with self._lock:
            for partition in partitions:
                for readable in (True, False):
                    self._ends.pop((topic_id, partition, readable), None)
