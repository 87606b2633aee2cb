"""Caches on a real Redis: with a prefix of the test's own on the shared one, or on a server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from soma_cli.core.adapters.cache.redis import RedisCache
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Cache
from soma_cli.core.settings import CacheSettings
from tests.contracts.events import uid
from tests.services import RedisServer, redis_url

PAUSE_S = 0.4


def state(memory: int, version: int, **fields: Any) -> MemoryState:
    made = MemoryState(
        id=uid(memory),
        namespace="default",
        payload_json=b'{"text":"version %d"}' % version,
        importance=1.0,
        created_at=1_700_000_000_000_001,
        updated_at=1_700_000_000_000_002 + version,
        version=version,
        last_event_id=uid(1_000_000 + version),
        model_revision=None,
        deleted=False,
    )
    return made._replace(**fields)


class Rig:
    """A cache with a prefix of its own, and the bare client beside it."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.prefix = prefix
        self.bare = Redis.from_url(url)
        self._opened: list[RedisCache] = []

    def cache(self, ttl_s: float = 60.0, pause_s: float = PAUSE_S, timeout_s: float = 5.0) -> RedisCache:
        settings = CacheSettings("redis", self.url, ttl_s=ttl_s, prefix=self.prefix, timeout_s=timeout_s)
        self._opened.append(RedisCache(settings, pause_s))
        return self._opened[-1]

    def key(self, memory: int) -> str:
        return self.prefix + uid(memory)

    def close(self) -> None:
        for cache in self._opened:
            cache.close()
        self.bare.close()


@contextmanager
def rig_at(url: str) -> Iterator[Rig]:
    rig = Rig(url, f"test-{uuid4()}:")
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rig_at(redis_url()) as rig:
        yield rig


@pytest.fixture
def cache(rig: Rig) -> RedisCache:
    return rig.cache()


def only(cache: Cache, memory: int) -> MemoryState | None:
    return cache.get([uid(memory)]).get(uid(memory))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own(server: RedisServer) -> Iterator[Rig]:
    with rig_at(server.address) as rig:
        yield rig
