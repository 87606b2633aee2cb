"""How long after its append time an event's row can be read, with the kv worker as a process of its own.

Append times are the broker's, in whole milliseconds; on a broker of another machine the difference of the clocks is in
the figures.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles

from confluent_kafka import KafkaError, Message, Producer

from soma_cli.bench.cluster.bare_kafka import must_succeed, producer, send
from soma_cli.bench.cluster.bare_postgres import connected
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.cluster.worker_process import start, stop
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload
from soma_cli.bench.workload import events
from soma_cli.core.event import MemoryEvent
from soma_cli.core.settings import Settings

_LOOK_EVERY_S = 0.002
_TICK_S = 0.002
_LONGEST_S = 10.0
_PATIENCE_S = 120.0
_POSITIONS = "SELECT partition, next_offset FROM positions"


class Watcher(threading.Thread):
    """Looks at the stored positions all the time, and remembers when each was first seen to have moved."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="watches positions", daemon=True)
        self.over = threading.Event()
        self.passed: dict[int, tuple[list[int], list[float]]] = {}
        self._settings = settings

    def run(self) -> None:
        with connected(self._settings) as connection:
            while not self.over.wait(_LOOK_EVERY_S):
                for partition, position in connection.execute(_POSITIONS, prepare=True).fetchall():
                    positions, times = self.passed.setdefault(partition, ([], []))
                    if not positions or position > positions[-1]:
                        positions.append(position)
                        times.append(time.time())

    def seen_at(self, partition: int, offset: int) -> float | None:
        """When the position had first passed this offset, in seconds since the epoch."""
        positions, times = self.passed.get(partition, ([], []))
        index = bisect_right(positions, offset)
        return times[index] if index < len(times) else None


class Appended:
    """Where each event went, and when, as the broker says."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, int]] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        must_succeed(error, message)
        self.records.append((message.partition() or 0, message.offset() or 0, message.timestamp()[1]))


@contextmanager
def visible(workload: Workload, rate: int, target_ms: float | None = None) -> Iterator[Comparison]:
    """`rate` in events a second."""
    more: dict[str, float] = {}
    with place(workload) as at:
        yield Comparison(
            f"append to row visible at {rate:,} events a second, p95",
            "ms",
            None if target_ms is None else Target(target_ms, "figure"),
            lambda: _round(at, workload, rate, more),
            more=more,
        )


def _round(at: Place, workload: Workload, rate: int, more: dict[str, float]) -> float:
    settings = at.tables()
    watcher = Watcher(settings)
    watcher.start()
    worker, sender = start(settings, workload.folder), producer(at.settings, linger_ms=0)
    try:
        # The worker has joined, and has passed what earlier rounds appended; the producer has the id it sends with:
        # what it was given before that would come at once.
        _append(at, sender, events(1), rate, watcher)
        made = events(min(workload.events, int(rate * _LONGEST_S)), MIDDLE.text_bytes)
        began = time.monotonic()
        records = _append(at, sender, made, rate, watcher)
        more["events a second"] = len(made) / (time.monotonic() - began)
    finally:
        watcher.over.set()
        stop(worker)
        watcher.join()
    waits = sorted(_wait_ms(watcher, *record) for record in records)
    cuts = quantiles(waits, n=100, method="inclusive")
    more.update({"p50 ms": median(waits), "p95 ms": cuts[94], "p99 ms": cuts[98], "longest ms": waits[-1]})
    return cuts[94]


def _wait_ms(watcher: Watcher, partition: int, offset: int, appended_ms: int) -> float:
    seen = watcher.seen_at(partition, offset)
    assert seen is not None
    return seen * 1e3 - appended_ms


def _append(
    at: Place, sender: Producer, made: list[MemoryEvent], rate: int, watcher: Watcher
) -> list[tuple[int, int, int]]:
    """Append at an even pace, then wait until the worker has passed everything."""
    appended, began = Appended(), time.perf_counter()
    done = 0
    while done < len(made):
        due = min(int((time.perf_counter() - began) * rate) + 1, len(made))
        for event in made[done:due]:
            send(sender, at.topic, event.id, event.value, appended)
        done = due
        sender.poll(0)
        time.sleep(_TICK_S)
    sender.flush()
    _until(partial(_all_seen, watcher, appended.records))
    return appended.records


def _all_seen(watcher: Watcher, records: list[tuple[int, int, int]]) -> bool:
    newest = {partition: offset for partition, offset, _ in sorted(records)}
    return all(watcher.seen_at(partition, offset) is not None for partition, offset in newest.items())


def _until(holds: partial[bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise NotHere("the worker did not pass the events")
        time.sleep(0.01)
