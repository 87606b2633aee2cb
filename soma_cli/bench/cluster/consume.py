"""Reading the topic as a worker does: runs of records, each decoded and validated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

import orjson

from soma_cli.bench.cluster.bare_kafka import fill, messages, reader
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE, Size
from soma_cli.bench.comparison import Comparison, NotHere, Workload
from soma_cli.core.event import decode_event
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import MemorySystem

_LIMIT = 1000
_PATIENCE_S = 60.0


@contextmanager
def consume(workload: Workload, size: Size = MIDDLE) -> Iterator[Comparison]:
    with place(workload) as at:
        count = fill(at.settings, at.topic, size.events(workload))
        yield Comparison(
            f"consume and decode events of {size.shown}",
            "/s",
            None,
            lambda: _ours(at, count),
            lambda: _theirs(at, count),
            "consume and orjson.loads, nothing validated, outside of a group",
        )


def _ours(at: Place, count: int) -> float:
    """From the first records on: joining the group comes before."""
    done, began, deadline = 0, 0.0, time.monotonic() + _PATIENCE_S
    with MemorySystem(at.settings) as system:
        log = system.adapters.log
        group = f"{at.name}-{uuid4().hex}"
        with closing(log.consumer(group, EVENTS_TOPIC, lambda partition: 0)) as consumer:
            while done < count:
                runs = consumer.poll(_LIMIT, 0.5)
                began = began or (time.perf_counter() if runs else 0.0)
                for run in runs:
                    for record in run.records:
                        decode_event(record)
                    done += len(run.records)
                if not runs and time.monotonic() > deadline:
                    raise NotHere("no records came")
    return count / (time.perf_counter() - began)


def _theirs(at: Place, count: int) -> float:
    began = 0.0
    with reader(at.settings, at.topic) as consumer:
        for some in messages(consumer, count, _LIMIT):
            began = began or time.perf_counter()
            for message in some:
                orjson.loads(message.value() or b"")
    return count / (time.perf_counter() - began)
