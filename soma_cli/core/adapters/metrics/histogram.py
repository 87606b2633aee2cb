"""A histogram that takes a whole batch of values at once.

The client library's own costs 1 microsecond a value; at 30,000 records a second that is 3 % of a core. Sorting the
batch and cutting it at the bounds costs a tenth of that.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import fsum

from prometheus_client.core import HistogramMetricFamily, Metric


class BatchHistogram:
    """A collector of one histogram with the label `worker`. `bounds` are upper bounds in seconds, inclusive, rising."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def begin(self, worker: str) -> None:
        """Show the worker with zeros before its first value, so that rates begin at the right place."""
        with self._lock:
            self._begin(worker)

    def observe(self, worker: str, values: Sequence[float]) -> None:
        """Count the values. A negative one (clocks differ between machines) counts as zero."""
        ordered = sorted(values)
        ends = [bisect_right(ordered, bound) for bound in self._bounds] + [len(ordered)]
        total = fsum(ordered[bisect_right(ordered, 0.0) :])
        with self._lock:
            counts = self._begin(worker)
            before = 0
            for place, end in enumerate(ends):
                counts[place] += end - before
                before = end
            self._sums[worker] += total

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=["worker"])
        with self._lock:
            held = [(worker, list(counts), self._sums[worker]) for worker, counts in self._counts.items()]
        names = [*map(str, self._bounds), "+Inf"]
        for worker, counts, total in held:
            family.add_metric([worker], list(zip(names, accumulate(counts), strict=True)), total)
        yield family

    def _begin(self, worker: str) -> list[int]:
        if worker not in self._counts:
            self._counts[worker] = [0] * (len(self._bounds) + 1)
            self._sums[worker] = 0.0
        return self._counts[worker]
