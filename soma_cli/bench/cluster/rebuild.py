"""Making the canonical tables anew from the topic, and comparing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from soma_cli.bench.cluster import follower
from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.comparison import Comparison, Target, Workload, per_second
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.catch_up import catch_up
from soma_cli.core.workers.kv_writer import KvWriter

_BATCH = 2000


class _Applied(NamedTuple):
    """A system whose tables hold the whole topic of `events` events."""

    at: Place
    system: MemorySystem
    events: int


@contextmanager
def _applied(workload: Workload) -> Iterator[_Applied]:
    with place(workload) as at:
        count = fill(at.settings, at.topic, MIDDLE.events(workload))
        with MemorySystem(at.tables()) as system:
            system.admin.worker("kv", until_end=True, batch_size=_BATCH).run()
            yield _Applied(at, system, count)


@contextmanager
def rebuild(workload: Workload) -> Iterator[Comparison]:
    with _applied(workload) as (at, system, count):
        yield Comparison(
            "rebuild kv: into a shadow, compared, swapped",
            "/s",
            Target(100_000, "figure"),
            lambda: per_second(count, lambda: system.admin.rebuild("kv")),
            lambda: follower.follow(at, count, _BATCH, copied=True),
            "consume, orjson, jsonschema-rs, COPY into unlogged tables, then their indexes; compared with nothing",
        )


@contextmanager
def compare(workload: Workload) -> Iterator[Comparison]:
    with _applied(workload) as (_, system, count):
        log, store = system.adapters.log, system.adapters.store
        topic_id = log.topic_id(EVENTS_TOPIC)
        shadow = store.shadow(topic_id)
        try:
            catch_up(log, KvWriter(log, shadow, topic_id, bury=False), store.positions(topic_id), batch_size=_BATCH)

            def ours() -> None:
                if shadow.compare(lambda ends: None).total:
                    raise AssertionError

            ours()  # builds the indexes
            yield Comparison(
                "compare kv with its shadow, rows and journal",
                "/s",
                Target(200_000, "figure"),
                lambda: per_second(count, ours),
                rounds=3,
            )
        finally:
            shadow.discard()
