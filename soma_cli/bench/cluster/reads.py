"""One memory at a time, from the cache and by primary key."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.bare_postgres import connected
from soma_cli.bench.cluster.place import place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload, microseconds_each
from soma_cli.core.system import MemorySystem

_MEMORIES = 1000
_BY_KEY = """
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE id = %s::text::uuid
"""


def _each(ids: list[str], read: Callable[[str], object]) -> Callable[[], float]:
    def all_of_them() -> None:
        for id in ids:
            if not read(id):
                raise AssertionError(f"{id} was not found")

    return lambda: microseconds_each(len(ids), all_of_them)


@contextmanager
def _stored(workload: Workload) -> Iterator[tuple[MemorySystem, list[str]]]:
    made = MIDDLE.events(workload)[:_MEMORIES]
    with place(workload) as at:
        fill(at.settings, at.topic, made)
        with MemorySystem(at.tables()) as system:
            system.admin.worker("kv", until_end=True).run()
            yield system, [event.id for event in made]


@contextmanager
def by_key(workload: Workload) -> Iterator[Comparison]:
    with _stored(workload) as (system, ids), connected(system.settings) as connection:
        store = system.adapters.store
        yield Comparison(
            "read one memory by id from PostgreSQL, connection warm",
            "us",
            Target(2.0),
            _each(ids, lambda id: store.states([id])),
            _each(ids, lambda id: connection.execute(_BY_KEY, (id,), prepare=True).fetchone()),
            "psycopg, a prepared SELECT of the same row",
            rounds=3,
        )


@contextmanager
def cached(workload: Workload) -> Iterator[Comparison]:
    if workload.settings.cache.kind != "redis":
        raise NotHere("cache.kind is none")
    with _stored(workload) as (system, ids), redis.Redis.from_url(workload.settings.cache.url or "") as client:
        cache = system.adapters.cache
        assert cache is not None
        values = [state.payload_json for state in system.adapters.store.states(ids).values()]
        keys = {id: f"{system.settings.cache.prefix}bare:{id}" for id in ids}
        for id, value in zip(ids, itertools.cycle(values), strict=False):
            client.set(keys[id], value, ex=600)
        cache.put(list(system.adapters.store.states(ids).values()))
        yield Comparison(
            "read one memory from the cache, a hit",
            "us",
            Target(2.0),
            _each(ids, lambda id: cache.get([id])),
            _each(ids, lambda id: client.get(keys[id])),
            "redis-py, GET of a value of that size",
            rounds=3,
        )
