"""Indexes on Qdrant for tests: the client's in-memory engine always, a server where one can be had."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient

from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.ports import IndexIdentity, IndexQuery
from soma_cli.core.settings import IndexSettings
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, point


class InMemory(QdrantClient):
    """The client's in-memory engine, made safe for threads, as a server is: one call at a time."""

    def __init__(self) -> None:
        self._one = threading.RLock()
        super().__init__(location=":memory:")

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        @wraps(found)
        def alone(*args: Any, **options: Any) -> Any:
            with self._one:
                return found(*args, **options)

        return alone


def in_memory(client: QdrantClient | None = None, **settings: Any) -> Callable[..., QdrantIndex]:
    """Opens the same provisioned index at each call."""
    shared = client or InMemory()
    return lambda identity=UNSETTLED: _provisioned(
        QdrantIndex(IndexSettings(kind="qdrant", **settings), identity=identity, client=shared)
    )


class OnServer:
    """The same on a server, behind an alias of its own; `drop` deletes what it made there."""

    def __init__(self, url: str) -> None:
        self._settings = IndexSettings(kind="qdrant", url=url, collection=f"test-{uuid4().hex[:12]}")

    def __call__(self, identity: IndexIdentity = UNSETTLED) -> QdrantIndex:
        return _provisioned(QdrantIndex(self._settings, identity=identity))

    def drop(self) -> None:
        client = QdrantClient(url=self._settings.url, check_compatibility=False)
        for each in client.get_collections().collections:
            if each.name.startswith(self._settings.collection):
                client.delete_collection(each.name)
        client.close()


def _provisioned(index: QdrantIndex) -> QdrantIndex:
    index.provision()
    return index


@pytest.fixture
def client() -> InMemory:
    return InMemory()


@pytest.fixture
def index(client: InMemory) -> QdrantIndex:
    return in_memory(client)()


def collections(client: InMemory) -> set[str]:
    return {each.name for each in client.get_collections().collections}


def live(client: InMemory) -> str:
    return {each.alias_name: each.collection_name for each in client.get_aliases().aliases}["memories"]


def uses(index: QdrantIndex) -> list[Any]:
    return [
        lambda: index.positions(TOPIC),
        lambda: index.identity(),
        lambda: index.adopt(IndexIdentity("m", 2)),
        lambda: index.write([point(1, 1, "x")], TOPIC, {0: 1}),
        lambda: index.search(IndexQuery("lexical", 3, "x")),
        lambda: index.versions([uid(1)]),
        lambda: list(index.scan()),
        lambda: index.count(),
        lambda: index.stats(),
        lambda: index.health(),
        lambda: index.shadow(UNSETTLED),
        lambda: index.provision(),
    ]
