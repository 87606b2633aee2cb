"""`soma trace`: one event in the log, in every projection and among the dead letters."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.record import NewRecord
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem
from soma_cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def soma(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def made(folder: Path, *arguments: str) -> dict:
    result = soma(folder, *arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def states(traced: dict, position: str = "memory.events/0@0") -> dict[str, str]:
    return {step["where"]: step["state"] for step in traced["steps"] if step["position"] == position}


def append(folder: Path, key: bytes, value: bytes) -> None:
    with MemorySystem(Settings(data_dir=folder)) as system:
        system.adapters.log.append([NewRecord("memory.events", key, value)])


def test_an_event_that_nobody_reached_is_pending_and_stays_so(folder: Path) -> None:
    receipt = made(folder, "store", "--text", "one")
    for _ in range(2):
        traced = made(folder, "trace", receipt["event_id"])
        assert {name: traced[name] for name in ("event_id", "id", "type", "position")} == {
            name: receipt[name] for name in ("event_id", "id", "type", "position")
        }
        assert states(traced) == {"log": "appended", "kv": "pending", "vector": "pending"}
    log, kv, _ = traced["steps"]
    assert log["at"] is not None
    assert (kv["at"], kv["detail"]) == (None, "kv is at 0: the next read applies it, or `soma consume kv`")
    assert not (folder / "index").exists()


def test_each_projection_is_looked_at_for_itself(folder: Path) -> None:
    event_id = made(folder, "store", "--text", "one")["event_id"]
    soma(folder, "list")
    traced = made(folder, "trace", event_id)
    assert states(traced) == {"log": "appended", "kv": "applied", "vector": "pending", "memory": "current"}
    log, kv = traced["steps"][:2]
    assert kv["at"] > log["at"]
    soma(folder, "search", "one")
    assert states(made(folder, "trace", event_id))["vector"] == "applied"


def test_a_superseded_event_names_what_came_after_it(folder: Path) -> None:
    first = made(folder, "store", "--text", "one")
    second = made(folder, "update", first["id"], "--text", "two")
    soma(folder, "search", "two")
    traced = made(folder, "trace", first["event_id"])
    assert states(traced) == {"log": "appended", "kv": "applied", "vector": "ignored", "memory": "superseded"}
    assert traced["steps"][-1]["detail"].endswith(f"is at version 1 now, made by event {second['event_id']}")
    deleted = made(folder, "delete", first["id"])
    soma(folder, "list")
    assert states(made(folder, "trace", first["event_id"]))["memory"] == "forgotten"
    assert states(made(folder, "trace", deleted["event_id"]), "memory.events/0@2")["memory"] == "current"


def test_an_event_that_was_sent_twice_has_both_its_positions(folder: Path) -> None:
    receipt = made(folder, "store", "--text", "one")
    with MemorySystem(Settings(data_dir=folder)) as system:
        record = next(system.adapters.log.scan("memory.events", 0, 0, 1))
    soma(folder, "list")
    append(folder, record.key or b"", record.value or b"")
    traced = made(folder, "trace", receipt["event_id"])
    assert states(traced, "memory.events/0@1") == {"log": "appended", "kv": "pending", "vector": "pending"}
    soma(folder, "search", "one")
    traced = made(folder, "trace", receipt["event_id"])
    assert states(traced)["kv"] == "applied"
    assert states(traced, "memory.events/0@1") == {"log": "appended", "kv": "duplicate", "vector": "ignored"}


def test_a_rejected_event_is_found_with_its_dead_letter(folder: Path) -> None:
    good = made(folder, "store", "--text", "one")
    append(folder, b"no id", b'{"event_id": "bad-one", "id": 7}')
    assert states(made(folder, "trace", "bad-one"), "memory.events/0@1")["kv"] == "pending"
    soma(folder, "search", "one")
    traced = made(folder, "trace", "bad-one")
    assert (traced["id"], traced["position"]) == (None, "memory.events/0@1")
    assert states(traced, "memory.events/0@1") == {
        "log": "appended",
        "kv": "rejected",
        "vector": "ignored",
        "dlq": "schema",
    }
    letter = traced["steps"][-1]
    assert letter["detail"].startswith("kv, attempt 1: the event does not match the schema")
    assert letter["at"] is not None
    assert {step["position"] for step in made(folder, "trace", good["event_id"])["steps"]} == {"memory.events/0@0"}
    assert soma(folder, "dlq", "discard", "memory.events/0@1").exit_code == 0
    assert "dlq" not in states(made(folder, "trace", "bad-one"), "memory.events/0@1")


def test_an_event_whose_vector_was_rejected_shows_so(folder: Path, tmp_path: Path) -> None:
    for number, vector in enumerate(["[1.0, 0.0]", "[1.0, 0.0, 0.0]"]):
        (tmp_path / "vector.json").write_text(vector)
        options = ["--embedding", str(tmp_path / "vector.json"), "--model-revision", "m1"]
        receipt = made(folder, "store", "--text", f"number {number}", *options)
    soma(folder, "search", "number", "--mode", "lexical")
    found = states(made(folder, "trace", receipt["event_id"]), receipt["position"])
    assert (found["kv"], found["vector"], found["dlq"]) == ("applied", "rejected", "wrong_dimension")


def test_what_only_mentions_the_event_id_is_not_the_event(folder: Path) -> None:
    made(folder, "store", "--text", "some-event-id")
    for _ in range(2):
        result = soma(folder, "trace", "some-event-id", "-o", "json")
        assert (result.exit_code, result.stdout) == (6, "")
        assert json.loads(result.stderr)["error"]["code"] == "not_found"
        soma(folder, "list")


def test_text_groups_the_steps_by_position(folder: Path) -> None:
    receipt = made(folder, "store", "--text", "one")
    lines = soma(folder, "trace", receipt["event_id"]).stdout.splitlines()
    assert lines[0].split() == ["event", receipt["event_id"]]
    at = lines.index("memory.events/0@0")
    assert lines[at + 1].split()[:2] == ["log", "appended"]
    assert lines[at + 2].split() == ["kv", "pending"]
    assert lines[at + 3].strip().startswith("kv is at 0")


def test_the_case_of_an_event_id_does_not_matter(folder: Path) -> None:
    event_id = made(folder, "store", "--text", "one")["event_id"]
    for _ in range(2):
        traced = made(folder, "trace", event_id.upper())
        assert (traced["event_id"], traced["position"]) == (event_id, "memory.events/0@0")
        soma(folder, "list")
    append(folder, b"no id", b'{"event_id": "Bad-One", "id": 7}')
    for _ in range(2):
        assert made(folder, "trace", "BAD-one")["position"] == "memory.events/0@1"
        soma(folder, "list")


def test_the_id_of_a_memory_is_told_to_be_one(folder: Path) -> None:
    id = made(folder, "store", "--text", "one")["id"]
    soma(folder, "get", id)
    missed = soma(folder, "trace", id)
    assert missed.exit_code == 6
    assert f"`soma history {id} -q`" in missed.stderr
    event_id = soma(folder, "history", id, "-q").stdout.strip()
    assert soma(folder, "trace", event_id).exit_code == 0
