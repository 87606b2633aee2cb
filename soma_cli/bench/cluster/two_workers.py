"""Two kv workers of one group, each a process of its own: what one machine does when a worker has used up its core."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from soma_cli.bench.cluster import follower
from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.cluster.worker_process import start, stop
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload
from soma_cli.bench.workload import events
from soma_cli.core.event import MemoryEvent
from soma_cli.core.operations.projections import group_name
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings, WorkerSettings
from soma_cli.core.system import MemorySystem

_LOOK_S = 0.005
_PATIENCE_S = 120.0


@contextmanager
def follow(workload: Workload) -> Iterator[Comparison]:
    with place(workload) as at:
        made = list(MIDDLE.events(workload))
        yield Comparison(
            "the same by two kv workers of one group, each a process",
            "/s",
            Target(20_000, "figure"),
            lambda: _rate(at, workload, made),
            lambda: follower.follow(at, len(made), WorkerSettings().batch_size),
            "one loop: consume, orjson, jsonschema-rs, unnest of the same rows, outside of a group",
            once=True,
        )


def _rate(at: Place, workload: Workload, made: list[MemoryEvent]) -> float:
    """Both have their partitions before the events are there; they stand still while the topic is filled."""
    settings = at.tables()
    workers = [start(settings, workload.folder) for _ in range(2)]
    try:
        with MemorySystem(settings) as system:
            _until_both_work(at, system, settings)
            for worker in workers:
                worker.send_signal(signal.SIGSTOP)
            fill(at.settings, at.topic, made)
            began = time.perf_counter()
            for worker in workers:
                worker.send_signal(signal.SIGCONT)
            _until_passed(system, workers)
            return len(made) / (time.perf_counter() - began)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
            stop(worker)


def _until_both_work(at: Place, system: MemorySystem, settings: Settings) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while system.adapters.log.members(group_name(settings, "kv")) < 2:
        if time.monotonic() > deadline:
            raise NotHere("two workers did not join the group")
        time.sleep(_LOOK_S)
    fill(at.settings, at.topic, events(100))  # what moves partitions between them is over when these have passed
    _until_passed(system, [])


def _until_passed(system: MemorySystem, workers: list[subprocess.Popen[bytes]]) -> None:
    ends = {partition: bounds.end for partition, bounds in system.adapters.log.bounds(EVENTS_TOPIC).items()}
    topic_id, deadline = system.adapters.log.topic_id(EVENTS_TOPIC), time.monotonic() + _PATIENCE_S
    while True:
        passed = system.adapters.store.positions(topic_id)
        if all(passed.get(partition, 0) >= end for partition, end in ends.items()):
            return
        if time.monotonic() > deadline or any(worker.poll() is not None for worker in workers):
            raise NotHere("the workers did not pass the events")
        time.sleep(_LOOK_S)
