"""New rows reach the cache beside kv's work, also those of a worker that died before it came to that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.cache.redis import RedisCache
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Applied, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import CacheSettings
from soma_cli.core.workers.written_through import WrittenThrough
from tests.contracts.adapters import sqlite_store
from tests.contracts.events import TOPIC_ID, batch, record, uid
from tests.services import new_topic_prefix

BATCH = 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = sqlite_store(tmp_path / "place")
    made.register_topic(EVENTS_TOPIC, TOPIC_ID)
    yield made
    made.close()


@pytest.fixture
def cache(redis_url: str) -> Iterator[RedisCache]:
    made = RedisCache(CacheSettings("redis", redis_url, prefix=new_topic_prefix()))
    yield made
    made.close()


def apply(store: MemoryStore, through: WrittenThrough | None, *events: tuple[int, int]) -> Applied:
    """Events of (offset, memory), in one batch."""
    made = batch(*(record(offset, memory) for offset, memory in events))
    applied = store.apply(made)
    if through is not None:
        through(applied, made.runs)
    return applied


def cached(cache: RedisCache, *memories: int) -> dict[str, MemoryState]:
    return cache.get([uid(memory) for memory in memories])


def test_what_was_applied_is_in_the_cache_after_the_wait(store: MemoryStore, cache: RedisCache) -> None:
    through = WrittenThrough(store, cache, TOPIC_ID, BATCH)
    for start in (0, 10, 20):
        apply(store, through, *((start + number, start + number) for number in range(10)))
    through.wait()
    assert cached(cache, *range(30)) == store.states([uid(memory) for memory in range(30)])


def test_the_last_batch_of_a_worker_that_died_is_put_by_the_next(store: MemoryStore, cache: RedisCache) -> None:
    first = WrittenThrough(store, cache, TOPIC_ID, BATCH)
    apply(store, first, (0, 1))
    first.wait()
    apply(store, None, (1, 1), (2, 2))  # committed, and then it died
    assert cached(cache, 1)[uid(1)].version == 0
    second = WrittenThrough(store, cache, TOPIC_ID, BATCH)
    apply(store, second, (3, 3))
    second.wait()
    assert {id: state.version for id, state in cached(cache, 1, 2, 3).items()} == {uid(1): 1, uid(2): 2, uid(3): 3}


def test_two_batches_of_a_worker_that_died_are_put_by_the_next(store: MemoryStore, cache: RedisCache) -> None:
    """One was on its way to the cache, the other was just committed."""
    apply(store, None, *((number, number) for number in range(2 * BATCH)))
    through = WrittenThrough(store, cache, TOPIC_ID, BATCH)
    apply(store, through, (2 * BATCH, 2 * BATCH))
    through.wait()
    assert len(cached(cache, *range(2 * BATCH + 1))) == 2 * BATCH + 1


def test_what_is_redelivered_is_put_as_it_is_now(store: MemoryStore, cache: RedisCache) -> None:
    apply(store, None, (0, 1), (1, 1))
    through = WrittenThrough(store, cache, TOPIC_ID, BATCH)
    assert apply(store, through, (0, 1)).redelivered == 1
    through.wait()
    assert cached(cache, 1)[uid(1)].version == 1


def test_a_cache_that_is_away_is_left_out(store: MemoryStore) -> None:
    away = RedisCache(CacheSettings("redis", "redis://127.0.0.1:9/0", timeout_s=0.2))
    through = WrittenThrough(store, away, TOPIC_ID, BATCH)
    assert len(apply(store, through, (0, 1)).decisions) == 1
    through.wait()
