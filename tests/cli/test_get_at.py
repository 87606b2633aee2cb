"""soma get --at POSITION, where the log was replaced: a position is one of the log as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soma_cli.core.errors import NotFound, UsageError
from soma_cli.core.event import version_of
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app


@pytest.fixture
def id() -> str:
    return "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def system(tmp_path: Path, id: str) -> Iterator[MemorySystem]:
    """A memory of offset 3 in the first log, whose second log begins with two other events."""
    with create_memory_system(data_dir=tmp_path) as first:
        for number in range(3):
            first.store(text=f"filler {number}")
        first.store(text="old", id=id)
        first.apply_kv()
    for file in tmp_path.glob("log.sqlite3*"):
        file.unlink()
    with create_memory_system(data_dir=tmp_path) as second:
        second.admin.init(new_epoch=True)
        second.store(text="filler")
        yield second


def test_what_an_earlier_log_made_lies_before_every_position(system: MemorySystem, id: str) -> None:
    system.update(id, text="new")
    assert system.fetch(id, at="memory.events/0@0").payload == {"text": "old"}
    assert system.fetch(id, at="memory.events/0@0").version == version_of(0, 3)
    assert system.fetch(id, at="memory.events/0@1").payload == {"text": "new"}


def test_the_position_that_get_names_for_a_forgotten_memory_shows_it(system: MemorySystem, id: str) -> None:
    system.delete(id)
    with pytest.raises(NotFound) as forgotten:
        system.fetch(id)
    position = forgotten.value.hint.split("--at ")[1].split("`")[0]
    assert system.fetch(id, at=position).payload == {"text": "old"}


def test_no_position_is_named_for_what_was_forgotten_in_an_earlier_log(tmp_path: Path, id: str) -> None:
    with create_memory_system(data_dir=tmp_path) as first:
        first.store(text="filler")
        first.store(text="old", id=id)
        first.delete(id)
        first.apply_kv()
    for file in tmp_path.glob("log.sqlite3*"):
        file.unlink()
    with create_memory_system(data_dir=tmp_path) as second:
        second.admin.init(new_epoch=True)
        with pytest.raises(NotFound) as forgotten:
            second.fetch(id)
        assert "--at" not in forgotten.value.hint


def test_a_position_that_was_not_passed_is_refused(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path) as system:
        id = system.store(text="one").id
        for position in ("memory.events/0@1", "memory.events/0@3000", "memory.events/1@0"):
            with pytest.raises(UsageError, match="no position that was passed"):
                system.fetch(id, at=position)
        assert system.fetch(id, at="memory.events/0@0").id == id


def test_what_a_time_was_taken_for_is_told_on_stderr(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path) as system:
        id = system.store(text="one").id
    for arguments, told in (
        (["get", id, "--at", "2126-01-31T12:00:00"], "soma: 2126-01-31T12:00:00 is 2126-01-31T12:00:00.000000Z\n"),
        (["list", "--since", "2020-01-31"], "soma: 2020-01-31 is 2020-01-31T00:00:00.000000Z\n"),
        (["replay", "--from", "2020-01-31T12:00:00Z", "-o", "jsonl"], ""),
        (["get", id, "--at", "memory.events/0@0"], ""),
    ):
        done = CliRunner().invoke(app, ["--data-dir", str(tmp_path), *arguments])
        assert (done.exit_code, done.stderr) == (0, told)
        assert "one" in done.stdout
