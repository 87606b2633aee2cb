"""soma produce: what it accepts, what it rejects line by line, and what a second run adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from soma_cli.commands.produce import _show as show
from soma_cli.core.record import Position
from soma_cli.core.results import ProduceResult
from soma_cli.main import app

SHAPE = {"accepted", "rejected", "first_position", "last_position", "rejects"}


class Soma:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> Result:
        done = CliRunner().invoke(app, list(arguments), input=stdin, env={"SOMA_DATA_DIR": str(self.folder)})
        assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr, done.exception)
        return done

    def produce(self, *lines: str, code: int = 0, options: tuple[str, ...] = ()) -> dict[str, Any]:
        return json.loads(self.run("produce", "-", *options, "-o", "json", code=code, stdin="\n".join(lines)).stdout)

    def listed(self) -> list[dict[str, Any]]:
        return json.loads(self.run("list", "-o", "json").stdout)


@pytest.fixture
def soma(tmp_path: Path) -> Soma:
    return Soma(tmp_path / "data")


def test_the_result_of_good_lines(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"payload": {"n": 1}}\n\n{"payload": {"n": 2}, "namespace": "b", "importance": 2, "extra": 1}')
    result = json.loads(soma.run("produce", str(file), "--namespace", "a", "-o", "json").stdout)
    assert result.keys() >= SHAPE
    assert (result["accepted"], result["rejected"], result["rejects"]) == (2, 0, [])
    assert (result["first_position"], result["last_position"]) == ("memory.events/0@0", "memory.events/0@1")
    found = {memory["namespace"]: memory for memory in soma.listed()}
    assert found["a"]["payload"] == {"n": 1}
    assert found["b"]["importance"] == 2
    [entry] = json.loads(soma.run("history", found["b"]["id"], "-o", "json").stdout)
    assert entry["event"]["extra"] == 1


def test_nothing_is_no_error(soma: Soma) -> None:
    result = soma.produce("")
    assert (result["accepted"], result["first_position"]) == (0, None)


def test_bad_lines_are_named_and_the_good_ones_appended(soma: Soma) -> None:
    result = soma.produce('{"payload": {"n": 1}}', "{oops", '{"payload": [1]}', '{"text": "x"}', "[]", code=5)
    assert (result["accepted"], result["rejected"]) == (1, 4)
    assert [(reject["line"], reject["pointer"]) for reject in result["rejects"]][1:3] == [
        (3, "/payload"),
        (4, "/payload"),
    ]
    assert all(reject.keys() == {"line", "code", "pointer", "message"} for reject in result["rejects"])
    assert len(soma.listed()) == 1


def test_text_output_puts_rejects_on_stderr(soma: Soma) -> None:
    done = soma.run("produce", "-", code=5, stdin='{"payload": {"n": 1}}\n{oops')
    assert "appended   1" in done.stdout
    assert "line 2: " in done.stderr
    assert "1 of 2 lines were rejected" in done.stderr


def test_atomic_appends_all_or_none(soma: Soma) -> None:
    result = soma.produce('{"payload": {"n": 1}}', "{oops", code=5, options=("--atomic",))
    assert (result["accepted"], result["rejected"]) == (0, 1)
    assert soma.listed() == []
    assert soma.produce('{"payload": {"n": 1}}', options=("--atomic",))["accepted"] == 1


def test_a_key_makes_the_second_run_add_nothing(soma: Soma) -> None:
    lines = [json.dumps({"payload": {"name": f"n{n}", "text": "x"}}) for n in range(3)]
    options = ("--key", "/payload/name")
    assert soma.produce(*lines, options=options)["appended"] == 3
    again = soma.produce(*lines, options=options)
    assert (again["accepted"], again["appended"], again["duplicates"]) == (3, 0, 3)
    more = soma.produce(*lines, json.dumps({"payload": {"name": "n3"}}), options=options)
    assert (more["appended"], more["duplicates"]) == (1, 3)
    changed = json.dumps({"payload": {"name": "n0", "text": "y"}})
    conflict = soma.produce(changed, options=options, code=5)
    assert conflict["rejects"][0]["code"] == "idempotency_conflict"
    missing = soma.produce('{"payload": {}}', options=options, code=5)
    assert missing["rejects"][0]["pointer"] == "/payload/name"


def test_a_key_that_comes_twice_in_one_run_makes_one_memory(soma: Soma) -> None:
    line = '{"payload": {"name": "n"}}'
    twice = soma.produce(line, line, options=("--key", "/payload/name"))
    assert (twice["accepted"], twice["appended"], twice["duplicates"]) == (2, 1, 1)
    assert len(soma.listed()) == 1


@pytest.mark.parametrize("atomic", [(), ("--atomic",)])
def test_a_key_that_comes_twice_with_other_content_is_rejected(soma: Soma, atomic: tuple[str, ...]) -> None:
    lines = [json.dumps({"payload": {"name": "n", "text": text}}) for text in ("first", "second")]
    result = soma.produce(*lines, options=("--key", "/payload/name", *atomic), code=5)
    assert [(reject["line"], reject["code"]) for reject in result["rejects"]] == [(2, "idempotency_conflict")]
    assert [memory["payload"]["text"] for memory in soma.listed()] == ([] if atomic else ["first"])


def test_whole_events_and_lines_of_replay(soma: Soma, tmp_path: Path) -> None:
    id = json.loads(soma.run("store", "--text", "one", "-o", "json").stdout)["id"]
    soma.run("update", id, "--text", "two", "--if-version", "0")
    soma.run("store", "--text", "gone", "--id", "0190b5d4-0000-7000-8000-000000000001")
    soma.run("delete", "0190b5d4-0000-7000-8000-000000000001")
    lines = soma.run("replay", "-o", "jsonl").stdout
    other = Soma(tmp_path / "other")
    result = json.loads(other.run("produce", "-", "--namespace", "other", "-o", "json", stdin=lines).stdout)
    assert (result["accepted"], result["rejected"]) == (4, 0)
    [memory] = other.listed()
    assert (memory["id"], memory["payload"], memory["version"]) == (id, {"text": "two"}, 1)
    assert memory["namespace"] == "default", "lines of replay keep theirs"
    assert json.loads(other.run("produce", "-", "-o", "json", stdin=lines).stdout)["appended"] == 0


def test_over_several_partitions_two_positions_are_no_span(capsys: pytest.CaptureFixture[str]) -> None:
    result = ProduceResult()
    result.count([Position("memory.events", number % 3, number) for number in range(1200)])
    show(result)
    assert capsys.readouterr().out == "appended  1,200 to 3 partitions\n"
    assert "partitions" not in orjson.dumps(result).decode()
    assert orjson.loads(orjson.dumps(result))["last_position"] == "memory.events/2@1199"
