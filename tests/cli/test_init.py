"""`soma init`: everything made once, nothing changed twice; and a log that was replaced on purpose."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.commands import init as init_command
from soma_cli.core.results import InitResult
from soma_cli.main import app

PARTS = ["folder", "log", "store", "access", "index"]
EPOCH = 1 << 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


def soma(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def made(folder: Path, *arguments: str) -> dict:
    result = soma(folder, *arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def replace_log(folder: Path) -> None:
    for path in folder.glob("log.sqlite3*"):
        path.unlink()


def test_the_first_run_makes_everything_and_the_second_nothing(folder: Path) -> None:
    first = made(folder, "init")
    assert (first["data_dir"], first["created"], first["existing"]) == (str(folder), PARTS, [])
    assert (first["epoch"], first["new_epoch"]) == (0, False)
    assert {path.name for path in folder.iterdir()} >= {
        "soma.json",
        "log.sqlite3",
        "store.sqlite3",
        "access.sqlite3",
        "index",
    }
    assert made(folder, "init") == {**first, "created": [], "existing": PARTS}


def test_it_makes_what_is_missing_and_keeps_the_data(folder: Path) -> None:
    receipt = made(folder, "store", "--text", "hello")
    soma(folder, "list")
    assert made(folder, "init")["created"] == ["index"]
    assert made(folder, "get", receipt["id"])["payload"] == {"text": "hello"}


def test_new_epoch_without_a_new_log_changes_nothing(folder: Path) -> None:
    first = made(folder, "init")
    assert made(folder, "init", "--new-epoch") == {**first, "created": [], "existing": PARTS}


def test_a_replaced_log_is_refused_until_it_is_accepted(folder: Path) -> None:
    old = made(folder, "store", "--text", "of the old log")
    made(folder, "update", old["id"], "--text", "of the old log, updated")
    soma(folder, "search", "old")
    replace_log(folder)
    for command in (["get", old["id"]], ["init"], ["lag"], ["trace", old["event_id"]]):
        refused = soma(folder, *command, "-o", "json")
        assert (refused.exit_code, refused.stdout) == (3, "")
        error = json.loads(refused.stderr)["error"]
        assert error["code"] == "log_replaced"
        assert "soma init --new-epoch" in error["hint"]

    accepted = soma(folder, "init", "--new-epoch", "-o", "json")
    result = json.loads(accepted.stdout)
    assert (result["epoch"], result["new_epoch"], result["created"]) == (1, True, ["log"])
    assert "versions of epoch 1" in accepted.stderr
    assert made(folder, "init", "--new-epoch")["new_epoch"] is False

    fresh = made(folder, "store", "--text", "of the new log")
    updated = made(folder, "update", old["id"], "--text", "of both logs")
    assert (fresh["position"], updated["position"]) == ("memory.events/0@0", "memory.events/0@1")
    assert made(folder, "get", fresh["id"])["version"] == EPOCH
    assert made(folder, "get", old["id"])["version"] == EPOCH + 1
    history = made(folder, "history", old["id"])
    assert [entry["version"] for entry in history] == [0, 1, EPOCH + 1]
    assert [entry["event"]["payload"]["text"] for entry in history] == [
        "of the old log",
        "of the old log, updated",
        "of both logs",
    ]
    assert {hit["id"] for hit in made(folder, "search", "log")} == {fresh["id"], old["id"]}
    assert made(folder, "search", "old") == []


def test_an_event_of_the_old_log_is_traced_as_such(folder: Path) -> None:
    old = made(folder, "store", "--text", "of the old log")
    soma(folder, "search", "old")
    replace_log(folder)
    soma(folder, "init", "--new-epoch")
    soma(folder, "store", "--text", "of the new log")
    steps = {step["where"]: step for step in made(folder, "trace", old["event_id"])["steps"]}
    assert steps["log"]["state"] == "replaced"
    assert "epoch 0" in steps["log"]["detail"]
    assert (steps["kv"]["state"], steps["vector"]["state"]) == ("applied", "applied")


def test_text_says_what_was_made(folder: Path) -> None:
    first, epoch = soma(folder, "init").stdout.splitlines()
    assert first == f"made in {folder}: {', '.join(PARTS)}"
    assert epoch.startswith("epoch 0 of the log, topic id ")
    nothing, there, again = soma(folder, "init").stdout.splitlines()
    assert nothing == "nothing to make: everything is there already, and was left as it is"
    assert there == f"there already in {folder}: {', '.join(PARTS)}"
    assert again == epoch


def test_a_folder_of_others_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    result = soma(folder, "init", "-o", "json")
    assert (result.exit_code, json.loads(result.stderr)["error"]["code"]) == (3, "data_folder_foreign")
    assert [path.name for path in folder.iterdir() if path.name != ".setup.lock"] == ["thesis.txt"]


def test_what_is_on_servers_is_told_apart_from_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    created = ["folder", "index", "topic a", "topic b", "access", "memories"]
    init_command._show(InitResult("/data", created, ["topic c"], 0, "t", False))
    assert capsys.readouterr().out.splitlines() == [
        "made in /data: folder, index",
        "made on the servers: 2 topics (a, b), access, memories",
        "there already on the servers: topic c",
        "epoch 0 of the log, topic id t",
    ]
