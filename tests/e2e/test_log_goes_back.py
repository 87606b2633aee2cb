"""A log that lost its newest events (an older backup put back): nothing goes on as if nothing had happened."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soma_cli.core.errors import LogBehind
from soma_cli.core.system import MemorySystem, create_memory_system


def test_a_log_that_ends_before_what_was_passed_stops_readers_and_workers_until_rebuilt(tmp_path: Path) -> None:
    folder, backup = tmp_path / "data", tmp_path / "backup"
    with create_memory_system(data_dir=folder) as system:
        kept = system.store(text="kept in the backup").id
        assert system.search("backup")[0].id == kept
    shutil.copytree(folder, backup)
    with create_memory_system(data_dir=folder) as system:
        lost = [system.store(text=f"lost with the newer log {number}").id for number in range(3)]
        assert len(system.search("lost newer")) == 3
    for file in folder.glob("log.sqlite3*"):
        file.unlink()
    shutil.copy(backup / "log.sqlite3", folder)
    with create_memory_system(data_dir=folder) as system:
        for refused in (
            lambda: system.fetch(kept),
            lambda: system.search("backup"),
            lambda: system.admin.worker("kv", until_end=True).run(),
            lambda: system.admin.worker("vector", until_end=True).run(),
        ):
            with pytest.raises(LogBehind, match=r"the log ends at offset 1"):
                refused()
        after_rebuild(system, kept, lost)


def after_rebuild(system: MemorySystem, kept: str, lost: list[str]) -> None:
    assert system.admin.rebuild("kv").differences == {"missing": 0, "extra": 3, "different": 0, "journal": 3}
    assert system.admin.rebuild("vector").executed
    assert [hit.id for hit in system.search("backup")] == [kept]
    assert [system.get(id) for id in lost] == [None, None, None]
    fresh = system.store(text="after the loss").id
    assert system.fetch(fresh).payload == {"text": "after the loss"}
    assert system.search("after loss")[0].id == fresh
