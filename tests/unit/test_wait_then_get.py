"""Who waited for a change reads it, although kv tells the cache only after its commit."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.memory import MemoryState
from soma_cli.core.system import create_memory_system
from soma_cli.core.wiring import Adapters
from soma_cli.core.workers.vector_indexer import VectorIndexer


class Held:
    """A cache that kv has not written to yet."""

    def __init__(self) -> None:
        self.states: dict[str, MemoryState] = {}
        self.away = False

    def get(self, ids: Collection[str]) -> dict[str, MemoryState]:
        return {id: self.states[id] for id in ids if id in self.states}

    def put(self, states: Collection[MemoryState]) -> None:
        if self.away:
            raise ServiceUnavailable("the cache is away")
        self.states |= {state.id: state for state in states}


def test_what_was_waited_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(Adapters, "cache", held)
    with create_memory_system(data_dir=tmp_path / "data") as system:
        id = system.store(text="old").id
        assert system.fetch(id).payload == {"text": "old"}
        system.update(id, text="new", wait="kv")
        assert system.fetch(id).payload == {"text": "new"}
        system.delete(id, wait="kv")
        assert system.get(id) is None


def test_what_was_waited_for_later_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its position, and also where the index cannot be asked."""
    held = Held()
    monkeypatch.setattr(Adapters, "cache", held)
    with create_memory_system(data_dir=tmp_path / "data") as system:
        id = system.store(text="old").id
        for text in ("new", "newer"):
            system.fetch(id)
            position = system.update(id, text=text).position
            system.wait(position, "kv")
            assert system.fetch(id).payload == {"text": text}
        position = system.update(id, text="newest").position
        monkeypatch.setattr(VectorIndexer, "process", _is_away)
        with pytest.raises(ServiceUnavailable, match="the index is away"):
            system.wait(position, "all")
        assert system.fetch(id).payload == {"text": "newest"}


def _is_away(*_: object) -> None:
    raise ServiceUnavailable("the index is away")


def test_a_cache_that_is_away_fails_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.away = True
    monkeypatch.setattr(Adapters, "cache", held)
    with create_memory_system(data_dir=tmp_path / "data") as system:
        assert system.store(text="old", wait="kv").outcomes is not None
