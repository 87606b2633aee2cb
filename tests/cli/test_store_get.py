"""soma store, update, delete, get, history, list and stats: shapes, exit codes, what goes where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from soma_cli.main import app

RECEIPT = {"id", "event_id", "position", "type", "namespace", "duplicate", "outcomes"}
MEMORY = {
    "id", "namespace", "payload", "importance", "created_at", "updated_at", "last_access", "access_count", "version",
    "last_event_id", "model_revision",
}  # fmt: skip
ENTRY = {"position", "event_id", "type", "appended_at", "outcome", "event"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Soma:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> Result:
        done = CliRunner().invoke(app, list(arguments), input=stdin, env={"SOMA_DATA_DIR": str(self.folder)})
        assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr, done.exception)
        return done

    def json(self, *arguments: str, stdin: str = "") -> Any:
        done = self.run(*arguments, "-o", "json", stdin=stdin)
        assert done.stderr == ""
        return json.loads(done.stdout)

    def error(self, *arguments: str, code: int) -> dict[str, Any]:
        done = self.run(*arguments, "-o", "json", code=code)
        assert done.stdout == ""
        return json.loads(done.stderr)["error"]


@pytest.fixture
def soma(tmp_path: Path) -> Soma:
    return Soma(tmp_path / "data")


def test_the_receipt_of_store(soma: Soma) -> None:
    receipt = soma.json("store", "--text", "hello", "--namespace", "greetings")
    assert receipt.keys() == RECEIPT
    assert UUID.fullmatch(receipt["id"])
    assert (receipt["position"], receipt["type"], receipt["namespace"]) == ("memory.events/0@0", "created", "greetings")
    assert receipt["duplicate"] is False
    assert receipt["outcomes"] == {"kv": None, "vector": None}
    waited = soma.json("store", "--text", "hello", "--wait", "all")
    assert waited["outcomes"] == {"kv": "applied", "vector": "applied"}


def test_quiet_prints_the_id_and_text_a_sentence(soma: Soma) -> None:
    id = soma.run("store", "--text", "hello", "-q").stdout
    assert UUID.fullmatch(id.strip())
    assert re.fullmatch(
        rf"stored {UUID.pattern} at memory.events/0@1\n", soma.run("store", "--payload", "-", stdin='{"a": 1}').stdout
    )


def test_store_takes_everything_an_event_can_say(soma: Soma, tmp_path: Path) -> None:
    vector = tmp_path / "vector.json"
    vector.write_text("[1, 0.5]")
    id = soma.json(
        "store", "--payload", "-", "--importance", "2.5", "--embedding", str(vector), "--model-revision", "m1",
        "--timestamp", "2026-01-02T03:04:05+02:00", "--actor", "tester", stdin='{"b": 1, "a": [true, null]}',
    )["id"]  # fmt: skip
    memory = soma.json("get", id)
    assert (memory["importance"], memory["model_revision"], memory["payload"]) == (
        2.5,
        "m1",
        {"b": 1, "a": [True, None]},
    )
    [entry] = soma.json("history", id)
    assert entry["event"]["timestamp"] == "2026-01-02T01:04:05.000000Z"
    assert (entry["event"]["actor"], entry["event"]["embedding"]) == ("tester", [1, 0.5])


def test_an_idempotency_key_counts_once(soma: Soma) -> None:
    first = soma.json("store", "--text", "hello", "--idempotency-key", "k")
    again = soma.json("store", "--text", "hello", "--idempotency-key", "k")
    assert again["duplicate"] is True
    assert {**again, "duplicate": False} == first
    elsewhere = soma.json("store", "--text", "hello", "--idempotency-key", "k", "--namespace", "other")
    assert elsewhere["id"] != first["id"]
    error = soma.error("store", "--text", "bye", "--idempotency-key", "k", code=5)
    assert error["code"] == "idempotency_conflict"
    assert soma.json("stats")["memories"] == 2


def test_get_counts_its_reads(soma: Soma) -> None:
    id = soma.json("store", "--text", "hello")["id"]
    first, second = soma.json("get", id), soma.json("get", id)
    assert first.keys() == MEMORY
    assert (first["last_access"], first["access_count"]) == (None, 0)
    assert second["access_count"] == 1
    for name in ("created_at", "updated_at"):
        assert INSTANT.fullmatch(first[name])
    assert INSTANT.fullmatch(second["last_access"])
    assert (first["version"], first["importance"]) == (0, 1.0)


def test_update_replaces_the_payload_and_keeps_the_rest(soma: Soma) -> None:
    id = soma.json("store", "--text", "old", "--importance", "3", "--namespace", "n")["id"]
    created = soma.json("get", id)
    assert soma.json("update", id, "--payload", "-", stdin='{"new": 1}')["type"] == "updated"
    memory = soma.json("get", id)
    assert (memory["payload"], memory["importance"], memory["namespace"]) == ({"new": 1}, 3.0, "n")
    assert memory["created_at"] == created["created_at"]
    assert memory["version"] == 1


def test_if_version_guards_update_and_delete(soma: Soma) -> None:
    id = soma.json("store", "--text", "old")["id"]
    updated = soma.json("update", id, "--text", "new", "--if-version", "0")
    assert updated["outcomes"]["kv"] == "applied"
    for arguments in (["update", id, "--text", "newer"], ["delete", id]):
        error = soma.error(*arguments, "--if-version", "0", code=7)
        assert error["code"] == "version_conflict"
    assert soma.json("get", id)["payload"] == {"text": "new"}
    assert soma.json("stats")["journal"]["applied"] == 2


def test_delete_leaves_its_reason_behind(soma: Soma) -> None:
    id = soma.json("store", "--text", "secret")["id"]
    assert soma.json("delete", id, "--reason", "asked by the user", "--actor", "bob")["type"] == "deleted"
    error = soma.error("get", id, code=6)
    assert error["code"] == "deleted"
    for word in ("forgotten", "bob", "asked by the user"):
        assert word in error["message"]
    assert soma.error("update", id, "--text", "x", code=6)
    assert soma.error("delete", id, code=6)
    entries = soma.json("history", id)
    assert [(entry["type"], entry["outcome"]) for entry in entries] == [("created", "applied"), ("deleted", "applied")]
    assert all(entry.keys() >= ENTRY for entry in entries)
    assert soma.json("get", id, "--at", "memory.events/0@0")["payload"] == {"text": "secret"}
    assert soma.json("list") == []


def test_get_at_a_time_or_position_shows_the_past(soma: Soma) -> None:
    id = soma.json("store", "--text", "one")["id"]
    soma.json("update", id, "--text", "two")
    first = soma.json("history", id)[0]
    assert soma.json("get", id, "--at", first["position"])["payload"] == {"text": "one"}
    assert soma.json("get", id, "--at", first["appended_at"])["payload"] == {"text": "one"}
    assert soma.error("get", id, "--at", "2020-01-01", code=6)
    assert soma.error("get", id, "--at", "memory.events/x", code=2)


def test_list_is_newest_first_and_filtered(soma: Soma) -> None:
    ids = [soma.json("store", "--text", f"m{n}", "--namespace", f"n{n % 2}")["id"] for n in range(5)]
    soma.json("update", ids[1], "--text", "changed")
    assert [memory["id"] for memory in soma.json("list")] == [ids[1], ids[4], ids[3], ids[2], ids[0]]
    assert [memory["id"] for memory in soma.json("list", "-n", "n0", "--limit", "2")] == [ids[4], ids[2]]
    assert soma.run("list", "-q", "-n", "n1").stdout.split() == [ids[1], ids[3]]
    assert soma.json("list", "--since", "2999-01-01") == []
    assert len(soma.json("list", "--since", "-1h")) == 5
    lines = soma.run("list", "-o", "jsonl").stdout.splitlines()
    assert all(json.loads(line).keys() == MEMORY for line in lines)
    assert len(lines) == 5


def test_text_output_keeps_control_characters_from_the_terminal(soma: Soma) -> None:
    id = soma.json("store", "--payload", "-", stdin=r'{"text": "a\u001b[31mred\nb\u0007"}')["id"]
    for command in (["list"], ["history", id], ["get", id], ["search", "red"]):
        assert not {"\x1b", "\x07"} & set(soma.run(*command).stdout), command


def test_stats_counts(soma: Soma) -> None:
    ids = [soma.json("store", "--text", f"m{n}")["id"] for n in range(3)]
    soma.json("delete", ids[0])
    found = soma.json("stats")
    assert found["memories"] == 2
    assert found["tombstones"] == 1
    assert found["journal"] == {"applied": 4, "duplicate": 0, "ignored": 0, "rejected": 0}
    assert str(soma.folder) in json.dumps(found)
    assert "memories" in soma.run("stats").stdout
