"""soma replay: the log read back, and projections made anew from it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from soma_cli.core.system import MemorySystem, create_memory_system


def soma(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "soma_cli", *arguments],
        env={**os.environ, "SOMA_DATA_DIR": str(folder), "COLUMNS": "200"},
        input=stdin.decode(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def system(tmp_path: Path):
    with create_memory_system(data_dir=tmp_path / "data") as made:
        yield made


def a_past(system: MemorySystem) -> tuple[str, str]:
    """Seven events of two memories: an update, one that was ignored, a delete, a revival."""
    first = system.store(text="Alice prefers window seats", namespace="travel", importance=2.0)
    second = system.store(text="Bob likes aisle seats", namespace="work")
    system.update(first.id, text="Alice prefers aisle seats")
    system.delete(second.id, reason="asked", actor="bob")
    system.store(text="Bob is back", id=second.id, namespace="work")
    version = system.fetch(first.id).version
    system.update(first.id, text="Alice prefers the front row", if_version=version)
    from soma_cli.core.eventing.producer import Draft, append_events, build_event

    late = build_event(Draft({"text": "late"}, id=first.id, type="updated", if_version=0), system.settings.limits)
    append_events(system.adapters.log, [late])
    return first.id, second.id


def test_replay_prints_every_event_in_log_order(system: MemorySystem, tmp_path: Path) -> None:
    a_past(system)
    run = soma(tmp_path / "data", "replay", "--from-offset", "0", "-o", "jsonl")
    assert run.returncode == 0
    assert run.stderr == ""
    found = lines(run.stdout)
    assert [line["position"] for line in found] == [f"memory.events/0@{offset}" for offset in range(7)]
    assert [line["version"] for line in found] == list(range(7))
    assert found[0]["event"]["payload"] == {"text": "Alice prefers window seats"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "offsets"),
    [
        (["--from-offset", "5"], [5, 6]),
        (["--from-offset", "-1"], [6]),
        (["--from-offset", "end"], []),
        (["--from-offset", "beginning", "--limit", "2"], [0, 1]),
        (["--namespace", "work"], [1, 3, 4]),
        (["--type", "updated"], [2, 5, 6]),
        (["--type", "updated", "--namespace", "work"], []),
        (["--from", "-1h"], [0, 1, 2, 3, 4, 5, 6]),
        (["--to", "-1h"], []),
    ],
)
def test_replay_selects(system: MemorySystem, tmp_path: Path, arguments: list[str], offsets: list[int]) -> None:
    a_past(system)
    run = soma(tmp_path / "data", "replay", *arguments, "-o", "json")
    assert run.returncode == 0, run.stderr
    assert [line["version"] for line in json.loads(run.stdout)] == offsets


def test_replay_of_one_memory_and_of_a_time_range(system: MemorySystem, tmp_path: Path) -> None:
    first, _ = a_past(system)
    run = soma(tmp_path / "data", "replay", "--id", first, "-o", "jsonl")
    assert [line["version"] for line in lines(run.stdout)] == [0, 2, 5, 6]
    third, fifth = (str(system.history(first)[i].appended_at) for i in (1, 2))
    run = soma(tmp_path / "data", "replay", "--from", third, "--to", fifth, "-o", "jsonl")
    assert [line["version"] for line in lines(run.stdout)] == [2, 3, 4, 5]


def test_bounds_that_cannot_be_are_usage_errors(system: MemorySystem, tmp_path: Path) -> None:
    a_past(system)
    for arguments in (
        ["--from-offset", "99"],
        ["--from-offset", "middle"],
        ["--from", "soon"],
        ["--from", "-1h", "--to", "-2h"],
        ["--into", "kv", "--type", "created"],
    ):
        run = soma(tmp_path / "data", "replay", *arguments)
        assert run.returncode == 2, arguments
        assert run.stdout == ""
        assert "Traceback" not in run.stderr


def test_a_closed_pipe_ends_quietly(system: MemorySystem, tmp_path: Path) -> None:
    for number in range(400):
        system.store(text=f"{number} " + "x" * 500)
    command = f"{sys.executable} -m soma_cli replay -o jsonl | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "SOMA_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == "0"


def test_what_replay_prints_can_be_produced_elsewhere_with_the_same_states_and_history(
    system: MemorySystem, tmp_path: Path
) -> None:
    first, second = a_past(system)
    printed = soma(tmp_path / "data", "replay", "-o", "jsonl").stdout
    with create_memory_system(data_dir=tmp_path / "other") as other:
        other.store(text="already here, so that offsets differ")
    run = soma(tmp_path / "other", "produce", "-", "-o", "json", stdin=printed.encode())
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["appended"] == 7
    again = soma(tmp_path / "other", "produce", "-", "-o", "json", stdin=printed.encode())
    assert (again.returncode, json.loads(again.stdout)["appended"], json.loads(again.stdout)["duplicates"]) == (0, 0, 7)
    with create_memory_system(data_dir=tmp_path / "other") as other:
        for id in (first, second):
            ours, theirs = system.fetch(id), other.fetch(id)
            assert (ours.payload, ours.namespace, ours.importance) == (
                theirs.payload,
                theirs.namespace,
                theirs.importance,
            )
            told = [(entry.event_id, entry.type, entry.outcome) for entry in system.history(id)]
            assert told == [(entry.event_id, entry.type, entry.outcome) for entry in other.history(id)]
    assert "ignored" in {entry.outcome for entry in system.history(first)}


def tamper(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "store.sqlite3")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_rebuild_of_kv_finds_what_was_tampered_with_and_mends_it(system: MemorySystem, tmp_path: Path) -> None:
    first, second = a_past(system)
    system.fetch(first)
    before = [system.fetch(first), system.fetch(second)]
    system.close()
    tamper(tmp_path / "data", f"UPDATE memories SET payload = '{{}}' WHERE id = '{first}'")
    tamper(tmp_path / "data", f"DELETE FROM memories WHERE id = '{second}'")
    plan = json.loads(soma(tmp_path / "data", "replay", "--into", "kv", "-o", "json").stdout)
    assert plan["differences"] == {"missing": 1, "extra": 0, "different": 1, "journal": 0}
    assert plan["executed"] is False
    assert (plan["examples"]["missing"], plan["examples"]["different"]) == ([second], [first])
    assert system.fetch(first).payload == {}, "a plan changes nothing"
    done = json.loads(soma(tmp_path / "data", "replay", "--into", "kv", "--execute", "--yes", "-o", "json").stdout)
    assert done["executed"] is True
    after = [system.fetch(first), system.fetch(second)]
    assert [memory.payload for memory in after] == [memory.payload for memory in before]
    assert [memory.version for memory in after] == [memory.version for memory in before]
    assert after[0].access_count > before[0].access_count, "access statistics are no projection"
    clean = json.loads(soma(tmp_path / "data", "replay", "--into", "kv", "-o", "json").stdout)
    assert sum(clean["differences"].values()) == 0


def test_a_rebuild_of_the_index_mends_one_that_is_corrupt(system: MemorySystem, tmp_path: Path) -> None:
    first, _ = a_past(system)
    assert system.search("front row")[0].id == first
    system.close()
    for file in (tmp_path / "data" / "index").rglob("segment.json"):
        file.write_bytes(b"garbage")
    broken = soma(tmp_path / "data", "search", "front row")
    assert broken.returncode == 3
    assert "soma replay --into vector --execute" in broken.stderr
    run = soma(tmp_path / "data", "replay", "--into", "vector", "--execute", "--yes", "-o", "json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["differences"]["missing"] == 2
    assert system.search("front row")[0].id == first


def test_a_swap_asks_first_and_refuses_where_nobody_can_be_asked(system: MemorySystem, tmp_path: Path) -> None:
    a_past(system)
    run = soma(tmp_path / "data", "replay", "--into", "kv", "--execute")
    assert run.returncode == 2
    assert "--yes" in run.stderr


def test_replay_takes_an_id_in_any_case_and_refuses_what_is_none(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="one").id
    run = soma(tmp_path / "data", "replay", "--id", id.upper(), "-o", "jsonl")
    assert [line["version"] for line in lines(run.stdout)] == [0]
    refused = soma(tmp_path / "data", "replay", "--id", "nonsense", "-o", "json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "'nonsense' is not a memory's id" in refused.stderr
