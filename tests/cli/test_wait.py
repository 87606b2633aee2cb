"""`soma wait`: outcomes once the projections have passed a position; exit 7 past the time, 5 for what was rejected."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.errors import UsageError, WaitTimedOut
from soma_cli.core.record import NewRecord
from soma_cli.core.settings import Settings, WorkerSettings
from soma_cli.core.system import MemorySystem
from soma_cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def soma(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def store(folder: Path, *arguments: str) -> dict:
    return json.loads(soma(folder, "store", "--text", "hello", "-o", "json", *arguments).stdout)


def error_of(result: Result) -> dict:
    return json.loads(result.stderr)["error"]


def test_it_returns_the_outcomes_of_all_projections(folder: Path) -> None:
    position = store(folder)["position"]
    result = soma(folder, "wait", position, "-o", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["position"], found["outcomes"]) == (position, {"kv": "applied", "vector": "applied"})
    assert 0 <= found["elapsed_s"] < 30
    assert soma(folder, "wait", position).stdout == f"passed {position}: kv applied, vector applied\n"


def test_waiting_for_kv_alone_leaves_the_index_alone(folder: Path) -> None:
    position = store(folder)["position"]
    result = soma(folder, "wait", position, "--for", "kv", "-o", "json")
    assert json.loads(result.stdout)["outcomes"] == {"kv": "applied", "vector": None}
    assert not (folder / "index").exists()


def test_it_goes_no_further_than_the_position(folder: Path) -> None:
    first = store(folder)["position"]
    store(folder)
    soma(folder, "wait", first)
    report = json.loads(soma(folder, "lag", "-o", "json").stdout)
    assert [group["lag"] for group in report["groups"]] == [1, 1]


def test_a_superseded_event_is_applied_to_kv_and_ignored_by_the_index(folder: Path) -> None:
    receipt = store(folder)
    soma(folder, "update", receipt["id"], "--text", "newer")
    soma(folder, "search", "newer")
    found = json.loads(soma(folder, "wait", receipt["position"], "-o", "json").stdout)
    assert found["outcomes"] == {"kv": "applied", "vector": "ignored"}


@pytest.mark.parametrize("what", ["kv", "all"])
def test_a_position_behind_the_end_waits_until_the_time_is_out(folder: Path, what: str) -> None:
    store(folder)
    began = time.monotonic()
    result = soma(folder, "wait", "memory.events/0@5", "--for", what, "--timeout", "0.3", "-o", "json")
    assert 0.3 <= time.monotonic() - began < 5
    assert (result.exit_code, result.stdout) == (7, "")
    error = error_of(result)
    assert error["code"] == "wait_timed_out"
    assert error["message"] == "kv had not passed memory.events/0@5 after 0.3 s"
    assert error["details"]["outcomes"] == {"kv": None, "vector": None}


def test_the_time_is_kept_also_with_a_long_backlog(folder: Path) -> None:
    settings = Settings(data_dir=folder, worker=WorkerSettings(batch_size=1))
    with MemorySystem(settings) as system:
        for number in range(5):
            system.store(text=f"memory {number}")
        with pytest.raises(WaitTimedOut, match=r"kv had not passed memory.events/0@4 after 0 s"):
            system.wait("memory.events/0@4", "kv", 0.0)
        assert system.admin.lag().groups[0].lag == 4


def test_no_time_is_enough_where_one_batch_is(folder: Path) -> None:
    position = store(folder)["position"]
    assert soma(folder, "wait", position, "--timeout", "0").exit_code == 0


def test_a_rejected_event_exits_5_and_says_why(folder: Path) -> None:
    with MemorySystem(Settings(data_dir=folder)) as system:
        system.adapters.log.append([NewRecord("memory.events", b"no id", b'{"id": 1}')])
    result = soma(folder, "wait", "memory.events/0@0", "-o", "json")
    assert (result.exit_code, result.stdout) == (5, "")
    error = error_of(result)
    assert error["message"].startswith("kv rejected the event at memory.events/0@0: ")
    assert error["details"]["outcomes"]["kv"] == "rejected"


@pytest.mark.parametrize("position", ["somewhere", "memory.dlq/0@0", "memory.events/7@0"])
def test_a_position_where_no_event_can_be_is_a_usage_error(folder: Path, position: str) -> None:
    began = time.monotonic()
    assert soma(folder, "wait", position).exit_code == 2
    assert time.monotonic() - began < 5


def test_a_time_that_is_none_is_a_usage_error(folder: Path) -> None:
    assert soma(folder, "wait", "memory.events/0@0", "--timeout=-1").exit_code == 2
    with MemorySystem(Settings(data_dir=folder)) as system, pytest.raises(UsageError, match="no time to wait"):
        system.wait("memory.events/0@0", "kv", float("nan"))
