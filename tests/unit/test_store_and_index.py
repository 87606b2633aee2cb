"""Writing needs the log alone: what the index is like refuses no event that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from soma_cli.core.errors import ConfigurationError, EventRejected
from soma_cli.core.system import create_memory_system

VECTOR = [0.1, 0.2, 0.3]


def test_an_index_that_is_not_configured(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path, index__kind="qdrant", index__url=None) as system:
        with pytest.raises(ConfigurationError, match=r"index\.url is not set"):
            system.search("x")
        assert system.store(text="x", embedding=VECTOR).position == "memory.events/0@0"


def test_an_index_that_is_damaged(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path) as system:
        system.store(text="x", embedding=VECTOR)
        system.search("x")
    current = tmp_path / "index" / "current"
    current.write_bytes(b"\xff" + current.read_bytes())
    with create_memory_system(data_dir=tmp_path) as system:
        with pytest.raises(ConfigurationError):
            system.search("x")
        assert system.store(text="y", embedding=VECTOR).position == "memory.events/0@1"


def test_an_event_that_is_wrong_is_refused(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path) as system:
        system.store(text="x", embedding=VECTOR)
        system.search("x")
        with pytest.raises(EventRejected, match="the embedding has 2 dimensions, the index has 3"):
            system.store(text="x", embedding=VECTOR[:2])
