"""soma score: the score of a memory or of given inputs, its terms, and when it would be pruned."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.commands.score import PolicyChoice
from soma_cli.core.instants import format_instant, parse_instant
from soma_cli.core.scoring import HOUR_US, POLICIES
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app

NOW = "2026-03-01T12:00:00.000000Z"
NOW_US = parse_instant(NOW)


@pytest.fixture
def system(tmp_path: Path):
    with create_memory_system(data_dir=tmp_path) as made:
        yield made


def soma(folder: Path, *arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"SOMA_DATA_DIR": str(folder), **env})


def scored(folder: Path, *arguments: str, **env: str) -> dict:
    run = soma(folder, "score", *arguments, "-o", "json", **env)
    assert run.exit_code == 0, run.stderr
    assert run.stderr == ""
    return json.loads(run.stdout)


def test_given_inputs_are_scored_by_the_formula(tmp_path: Path) -> None:
    inputs = [
        "--importance",
        "1.5",
        "--created",
        "-99h",
        "--last-access",
        "2026-03-01T09:00:00Z",
        "--access-count",
        "1",
    ]
    result = scored(tmp_path, *inputs, "--now", NOW)
    assert result["terms"] == {
        "age": pytest.approx(math.log(100)),
        "recency": 0.25,
        "access": 0.25,
        "importance": -3.0,
    }
    assert result["score"] == pytest.approx(math.log(100) - 2.5)
    assert (result["prune"], result["prunes_at"], result["now"]) == (True, NOW, NOW)
    assert (result["policy"], result["threshold"]) == ("roadmap", 2.0)
    assert result["weights"] == {"age": 1.0, "recency": 1.0, "access": 0.5, "importance": 2.0}
    assert result["inputs"] == {
        "importance": 1.5,
        "created_at": "2026-02-25T09:00:00.000000Z",
        "last_access": "2026-03-01T09:00:00.000000Z",
        "access_count": 1,
        "age_s": 99 * 3600.0,
        "since_access_s": 3 * 3600.0,
    }


def test_inputs_not_given_are_those_of_a_memory_stored_now(tmp_path: Path) -> None:
    result = scored(tmp_path, "--importance", "1", "--now", NOW)
    assert result["inputs"]["created_at"] == NOW
    assert (result["inputs"]["last_access"], result["inputs"]["access_count"]) == (None, 0)
    assert parse_instant(result["prunes_at"]) - NOW_US == pytest.approx(45.7177 * HOUR_US, rel=1e-5)


def test_never_read_is_scored_as_read_at_creation(tmp_path: Path) -> None:
    unread = scored(tmp_path, "--created", "-3h", "--now", NOW)
    read = scored(tmp_path, "--created", "-3h", "--last-access", "-3h", "--now", NOW)
    assert unread["terms"] == read["terms"]
    assert unread["terms"]["recency"] == 0.25
    assert unread["inputs"]["last_access"] is None


def test_prunes_at_is_the_first_instant_above_the_threshold(tmp_path: Path) -> None:
    inputs = ["--created", "2026-03-01", "--importance", "1"]
    at = scored(tmp_path, *inputs, "--now", NOW)["prunes_at"]
    before = format_instant(parse_instant(at) - 1)
    assert scored(tmp_path, *inputs, "--now", at)["prune"] is True
    assert scored(tmp_path, *inputs, "--now", before)["prune"] is False


def test_prunes_at_is_null_where_never(tmp_path: Path) -> None:
    weights = {"SOMA_SCORING__WEIGHTS__AGE": "0", "SOMA_SCORING__WEIGHTS__RECENCY": "0"}
    assert scored(tmp_path, "--importance", "1", **weights)["prunes_at"] is None
    assert "pruned at  never" in soma(tmp_path, "score", "--importance", "1", **weights).stdout


def test_settings_weigh_on_top_of_the_policy_and_options_on_top_of_settings(tmp_path: Path) -> None:
    env = {"SOMA_SCORING__POLICY": "retain", "SOMA_SCORING__WEIGHTS__AGE": "3", "SOMA_SCORING__THRESHOLD": "7"}
    result = scored(tmp_path, "--importance", "1", **env)
    assert (result["policy"], result["threshold"]) == ("retain", 7.0)
    assert result["weights"] == {"age": 3.0, "recency": -1.0, "access": -0.5, "importance": 2.0}
    result = scored(tmp_path, "--importance", "1", "--policy", "roadmap", "--threshold", "-1.5", **env)
    assert (result["policy"], result["threshold"]) == ("roadmap", -1.5)
    assert result["weights"] == {"age": 3.0, "recency": 1.0, "access": 0.5, "importance": 2.0}


def test_a_threshold_of_zero_counts_as_given(tmp_path: Path) -> None:
    assert scored(tmp_path, "--importance", "1", SOMA_SCORING__THRESHOLD="0")["threshold"] == 0.0
    assert scored(tmp_path, "--importance", "1", "--threshold", "0", SOMA_SCORING__THRESHOLD="7")["threshold"] == 0.0


def test_a_memory_is_scored_without_counting_as_read(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="Alice prefers window seats", importance=2.5).id
    created = system.list_memories()[0].created_at
    at = format_instant(parse_instant(created) + 7 * HOUR_US)
    result = scored(tmp_path, id, "--now", at)
    assert (result["inputs"]["id"], result["inputs"]["created_at"]) == (id, created)
    assert (result["inputs"]["importance"], result["inputs"]["access_count"]) == (2.5, 0)
    assert result["inputs"]["version"] == system.list_memories()[0].version
    assert result["terms"]["recency"] == 0.125
    assert scored(tmp_path, id, "--now", at) == result
    assert system.list_memories()[0].last_access is None


def test_reads_of_a_memory_count(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="Alice prefers window seats").id
    system.fetch(id)
    system.fetch(id)
    inputs = scored(tmp_path, id)["inputs"]
    assert inputs["access_count"] == 2
    assert inputs["last_access"] == system.list_memories()[0].last_access


def test_reads_of_an_earlier_life_count_but_its_age_does_not(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="Alice prefers window seats").id
    system.fetch(id)
    first = system.list_memories()[0].created_at
    system.delete(id)
    system.store(text="Alice is back", id=id)
    inputs = scored(tmp_path, id)["inputs"]
    assert inputs["access_count"] == 1
    assert first < inputs["last_access"] < inputs["created_at"]


def test_explain_shows_each_term_with_its_numbers(tmp_path: Path) -> None:
    inputs = ["--importance", "1.5", "--created", "-72h", "--last-access", "-2h", "--access-count", "3"]
    run = soma(tmp_path, "score", *inputs, "--policy", "retain", "--explain")
    assert run.exit_code == 0
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in run.stdout.splitlines() if line}
    assert shown["age"] == "+4.290459 = 1 * log(1 + 72) [hours since created]"
    assert shown["recency"] == "-0.333333 = -1 / (1 + 2) [hours since last read]"
    assert shown["access"] == "-0.440399 = -0.5 / (1 + exp(-(3 - 1))) [times read]"
    assert shown["importance"] == "-3.000000 = -2 * 1.5"
    assert shown["sum"] == "+0.516728, pruned when above 2"
    assert shown["pruned"].endswith("if nobody reads it meanwhile")


def test_explain_names_an_unread_memory_and_a_negative_weight_of_importance(tmp_path: Path) -> None:
    env = {"SOMA_SCORING__WEIGHTS__IMPORTANCE": "-2"}
    run = soma(tmp_path, "score", "--created", "-1h", "--explain", **env)
    assert "hours since created (never read)" in run.stdout
    assert "+2.000000 = 2 * 1\n" in run.stdout
    assert "pruned at  now\n" in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--now", NOW],
        ["01890a5d-ac96-774b-bcce-b302099a8057", "--importance", "1"],
        ["01890a5d-ac96-774b-bcce-b302099a8057", "--access-count", "0"],
        ["not-an-id"],
        ["--importance", "nan"],
        ["--created", "someday"],
        ["--access-count", "-1"],
        ["--importance", "1", "--policy", "mine"],
        ["--importance", "1", "--threshold", "inf"],
    ],
)
def test_malformed_calls_exit_2(tmp_path: Path, arguments: list[str]) -> None:
    run = soma(tmp_path, "score", *arguments)
    assert (run.exit_code, run.stdout) == (2, "")
    assert run.stderr


def test_absent_and_deleted_memories_exit_6(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="Alice prefers window seats").id
    system.delete(id, reason="asked")
    run = soma(tmp_path, "score", id, "-o", "json")
    assert (run.exit_code, run.stdout) == (6, "")
    assert json.loads(run.stderr)["error"]["code"] == "deleted"
    assert soma(tmp_path, "score", "01890a5d-ac96-774b-bcce-b302099a8057").exit_code == 6


def test_the_choices_are_the_policies() -> None:
    assert [choice.value for choice in PolicyChoice] == list(POLICIES)
