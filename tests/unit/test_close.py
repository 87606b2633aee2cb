"""A system that is closed holds nothing, also where one of its parts could not be closed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from soma_cli.core.system import create_memory_system


def test_the_others_are_closed_after_one_that_could_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = create_memory_system(data_dir=tmp_path / "data")
    system.store(text="one")
    system.search("one")
    closed = []
    adapters = system.adapters

    def broken() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    for adapter in (adapters.store, adapters.log):
        monkeypatch.setattr(
            adapter, "close", lambda adapter=adapter, close=adapter.close: (close(), closed.append(adapter))
        )
    expected = [adapters.store, adapters.log]
    monkeypatch.setattr(adapters.index, "close", broken)
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        system.close()
    assert closed == expected
    with create_memory_system(data_dir=tmp_path / "data") as again:
        assert [hit.payload for hit in again.search("one")] == [{"text": "one"}]
