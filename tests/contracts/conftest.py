from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.event_log import kafka_group_offsets
from soma_cli.core.ports import MemoryStore
from soma_cli.core.record import EVENTS_TOPIC
from tests.contracts.adapters import STORES
from tests.contracts.events import TOPIC_ID


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the log or store of this test lies."""
    return tmp_path / "place"


@pytest.fixture(autouse=True)
def stable_offsets_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker tries again after a second; many tests ask once."""
    monkeypatch.setattr(kafka_group_offsets, "_STABLE_S", 5.0)


@pytest.fixture
def group() -> str:
    """A group that nobody else is in: brokers are shared by all tests."""
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=sorted(STORES))
def store_adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_store(store_adapter: str, place: Path) -> Iterator[Callable[[], MemoryStore]]:
    """Open the same store again, as another client would."""
    opened: list[MemoryStore] = []

    def open_again() -> MemoryStore:
        opened.append(STORES[store_adapter](place))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], MemoryStore]) -> MemoryStore:
    store = open_store()
    store.register_topic(EVENTS_TOPIC, TOPIC_ID)
    return store
