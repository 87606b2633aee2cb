"""A log or store that cannot be opened leaves no file open behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from soma_cli.core.errors import DataFolderError
from tests.contracts.adapters import sqlite_log, sqlite_store
from tests.contracts.events import new_record

OPENING: dict[str, Callable[[Path], object]] = {
    "log.sqlite3": sqlite_log,
    "store.sqlite3": sqlite_store,
    "access.sqlite3": sqlite_store,
}


def databases_open(folder: Path) -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own is gone by now
            target = descriptor.readlink()
            if target.parent == folder and ".sqlite3" in target.name:
                found.add(target.name)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite_log(tmp_path)) as log, closing(sqlite_store(tmp_path)):
        log.append([new_record(number, number) for number in range(500)])
        assert databases_open(tmp_path) >= OPENING.keys()
    assert databases_open(tmp_path) == set()
    return tmp_path


@pytest.mark.parametrize("name", OPENING)
def test_where_a_file_is_no_database(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"no database" * 1000)
    with pytest.raises(DataFolderError, match=name) as failed:
        OPENING[name](folder)
    assert databases_open(folder) == set(), failed  # which keeps alive what a collector would close


def test_where_the_topics_cannot_be_read(folder: Path) -> None:
    file = folder / "log.sqlite3"
    content = bytearray(file.read_bytes())
    for at in range(4096, len(content), 4096):
        content[at : at + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(DataFolderError, match=r"log\.sqlite3 is corrupt") as failed:
        sqlite_log(folder)
    assert databases_open(folder) == set(), failed
