"""Reading canonical rows through the cache, where there is one: it makes reads quicker, and never fails one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from soma_cli.core.errors import SomaError
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Cache, MemoryStore

logger = logging.getLogger("soma")

Told = Callable[[int, int, int], None]
"""Hits, misses and errors."""


class Reader:
    """The state of one memory from the cache, else from the store; what the store knew is cached for the next read."""

    def __init__(self, store: MemoryStore, cache: Cache | None, told: Told = lambda hits, misses, errors: None) -> None:
        self._store = store
        self._cache = cache
        self._told = told

    def state(self, id: str) -> MemoryState | None:
        if self._cache is None:
            return self._store.states([id]).get(id)
        try:
            cached = self._cache.get([id]).get(id)
        except SomaError as error:
            logger.debug("read without the cache: %s", error.message)
            self._told(0, 0, 1)
            return self._store.states([id]).get(id)
        self._told(int(cached is not None), int(cached is None), 0)
        return cached if cached is not None else self._filled(id, self._cache)

    def _filled(self, id: str, cache: Cache) -> MemoryState | None:
        state = self._store.states([id]).get(id)
        if state is not None:
            try:
                cache.put([state])
            except SomaError as error:
                logger.debug("the cache was not filled: %s", error.message)
        return state


def renew(store: MemoryStore, cache: Cache | None, id: str) -> None:
    """Let the cache know what the store does: who waited for kv reads what it did, and kv tells the cache only after
    its commit, if nothing comes in between."""
    if cache is None:
        return
    try:
        cache.put(list(store.states([id]).values()))
    except SomaError as error:
        logger.debug("the cache was not renewed: %s", error.message)
