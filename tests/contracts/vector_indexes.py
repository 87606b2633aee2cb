"""A vector index of every adapter in turn, for the contracts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex
from soma_cli.core.ports import VectorIndex
from tests.contracts.points import UNSETTLED
from tests.contracts.qdrant_indexes import OnServer, in_memory
from tests.services import qdrant_url
from tests.services.containers import engine_answers

Open = Callable[..., VectorIndex]
"""Open the same collection again, as another client would; `identity` shapes it where there is none yet."""


def edge(tmp_path: Path) -> Open:
    return lambda identity=UNSETTLED: QdrantEdgeIndex(tmp_path / "index", identity=identity)


def qdrant(tmp_path: Path) -> Open:
    return in_memory()


def qdrant_server(tmp_path: Path) -> Open:
    url = qdrant_url()
    assert url is not None, "neither SOMA_TEST_QDRANT nor Docker gives a server"
    return OnServer(url)


ADAPTERS = [pytest.param(edge, id="qdrant_edge"), pytest.param(qdrant, id="qdrant")]
SERVER = bool(os.environ.get("SOMA_TEST_QDRANT")) or engine_answers()
if SERVER:
    ADAPTERS.append(pytest.param(qdrant_server, id="qdrant_server"))


@pytest.fixture(params=ADAPTERS)
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    factory, opened = request.param(tmp_path), []

    def open_again(**options: Any) -> VectorIndex:
        opened.append(factory(**options))
        return opened[-1]

    yield open_again
    for index in opened:
        index.close()
    if isinstance(factory, OnServer):
        factory.drop()


@pytest.fixture
def index(open_index: Open) -> VectorIndex:
    return open_index()
