"""A log that lost its newest events (an older backup put back): nothing goes on as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.errors import LogBehind
from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app


def test_a_log_that_ends_before_what_was_passed_stops_readers_and_workers_until_rebuilt(tmp_path: Path) -> None:
    folder, backup = tmp_path / "data", tmp_path / "backup"
    with create_memory_system(data_dir=folder) as system:
        kept = system.store(text="kept in the backup").id
        assert system.search("backup")[0].id == kept
    shutil.copytree(folder, backup)
    with create_memory_system(data_dir=folder) as system:
        lost = [system.store(text=f"lost with the newer log {number}").id for number in range(3)]
        assert len(system.search("lost newer")) == 3
    put_back(folder, backup)
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


def put_back(folder: Path, backup: Path) -> None:
    for file in folder.glob("log.sqlite3*"):
        file.unlink()
    shutil.copy(backup / "log.sqlite3", folder)


def another_future(tmp_path: Path) -> tuple[Path, list[str], list[str]]:
    """A log put back to its first event and appended to before anything read it. Its folder; ids then, and now."""
    folder, backup = tmp_path / "data", tmp_path / "backup"
    with create_memory_system(data_dir=folder) as system:
        kept = system.store(text="kept in the backup").id
    shutil.copytree(folder, backup)
    with create_memory_system(data_dir=folder) as system:
        then = [kept, *(system.store(text=f"lost with the newer log {number}").id for number in range(3))]
        assert len(system.search("lost newer kept")) == 4
    put_back(folder, backup)
    with create_memory_system(data_dir=folder) as system:
        with pytest.raises(LogBehind):
            system.store(text="an event that would hide what is gone")
        now = [kept, *(forced(system, f"written since {number}") for number in range(4))]
    return folder, then, now


def forced(system: MemorySystem, text: str) -> str:
    """Append without looking, as a writer of an earlier version would."""
    event = build_event(Draft({"text": text}), system.settings.limits)
    append_events(system.adapters.log, [event])
    return event.id


def test_a_log_put_back_and_appended_to_stops_readers_and_workers_until_rebuilt(tmp_path: Path) -> None:
    folder, then, now = another_future(tmp_path)
    for command in (
        ["get", now[-1]],
        ["list"],
        ["search", "written"],
        ["update", then[0], "--text", "x"],
        ["dlq", "list"],
        ["wait", "memory.events/0@3"],
        ["consume", "kv", "--until-end"],
        ["consume", "vector", "--until-end"],
    ):
        refused = soma(folder, *command, "-o", "json")
        assert (refused.exit_code, refused.stdout) == (3, ""), command
        error = json.loads(refused.stderr)["error"]
        assert error["code"] == "log_behind"
        assert "at memory.events/0@3 it holds another event" in error["message"]
        assert "soma replay --into kv --execute" in error["hint"]
    assert ("continuity", "error") in findings(folder)
    for projection in ("kv", "vector"):
        rebuilt = soma(folder, "replay", "--into", projection, "--execute", "--yes")
        assert rebuilt.exit_code == 0, rebuilt.output
    with create_memory_system(data_dir=folder) as system:
        assert {memory.id for memory in system.list_memories()} == set(now)
        assert {hit.id for hit in system.search("written since kept")} == set(now)
        assert [system.get(id) for id in then[1:]] == [None, None, None]
        assert system.admin.rebuild("kv").differences == {"missing": 0, "extra": 0, "different": 0, "journal": 0}
    assert all(status == "ok" for _, status in findings(folder))


def test_a_log_whose_newest_record_is_no_event_is_known_again(tmp_path: Path) -> None:
    for key, value in ((b"k", b"\xffnot json"), (b"k", b'{"a": 1}'), (None, None)):
        with create_memory_system(data_dir=tmp_path) as system:
            system.adapters.log.append([NewRecord(EVENTS_TOPIC, key, value)])  # type: ignore[arg-type]
            system.apply_kv()
        with create_memory_system(data_dir=tmp_path) as system:
            system.apply_kv()


def soma(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def findings(folder: Path) -> set[tuple[str, str]]:
    with create_memory_system(data_dir=folder) as system:
        return {(finding.check, finding.status) for finding in system.admin.doctor().findings}
