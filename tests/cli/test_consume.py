"""soma consume, in one process: the summary, its texts, and which workers there are. Processes: tests/e2e."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.main import app

SHAPE = {
    "worker", "read", "applied", "duplicate", "ignored", "rejected", "redelivered", "last_positions", "elapsed_s"
}  # fmt: skip


class Soma:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> Result:
        done = CliRunner().invoke(app, list(arguments), input=stdin, env={"SOMA_DATA_DIR": str(self.folder)})
        assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr, done.exception)
        return done

    def fill(self, count: int) -> None:
        self.run("produce", "-", stdin="\n".join(json.dumps({"payload": {"text": f"m{n}"}}) for n in range(count)))


@pytest.fixture
def soma(tmp_path: Path) -> Soma:
    made = Soma(tmp_path / "data")
    made.fill(7)
    return made


def test_one_worker_one_object(soma: Soma) -> None:
    summary = json.loads(soma.run("consume", "kv", "--until-end", "-o", "json").stdout)
    assert summary.keys() == SHAPE
    assert (summary["worker"], summary["read"], summary["applied"]) == ("kv", 7, 7)
    assert summary["last_positions"] == {"memory.events/0": 6}


def test_all_runs_kv_and_vector_and_counts_each(soma: Soma) -> None:
    done = soma.run("consume", "all", "--until-end", "-o", "json")
    kv, vector = json.loads(done.stdout)
    assert (kv["worker"], kv["applied"]) == ("kv", 7)
    assert (vector["worker"], vector["applied"]) == ("vector", 7)
    assert "all stopped: reached the end" in done.stderr


def test_all_prints_a_line_for_each_worker_with_jsonl_and_as_text(soma: Soma) -> None:
    lines = soma.run("consume", "all", "--until-end", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["worker"] for line in lines] == ["kv", "vector"]
    lines = soma.run("consume", "all", "--until-end").stdout.splitlines()
    assert [line.partition(": read ")[0] for line in lines] == ["kv", "vector"]


def test_max_events_and_the_text_summary(soma: Soma) -> None:
    done = soma.run("consume", "kv", "--max-events", "3")
    assert done.stdout.startswith("kv: read 3 (3 applied), last position memory.events/0@2, ")
    assert "kv stopped: read enough" in done.stderr


@pytest.mark.parametrize("name", ["audit", "latest"])
def test_workers_that_the_embedded_log_does_not_need(soma: Soma, name: str) -> None:
    done = soma.run("consume", name, code=3)
    assert done.stdout == ""
    assert "the embedded log keeps every event" in done.stderr


def test_rejects_stop_kv_and_max_rejects_lets_it_go_on(soma: Soma) -> None:
    from soma_cli.core.record import EVENTS_TOPIC, NewRecord
    from soma_cli.core.system import create_memory_system

    with create_memory_system(data_dir=soma.folder) as system:
        system.adapters.log.append([NewRecord(EVENTS_TOPIC, b"k", b"bad")] * 60)
    stopped = soma.run("consume", "kv", "--until-end", "-o", "json", code=7)
    summary = json.loads(stopped.stdout)
    assert (summary["applied"], summary["rejected"]) == (7, 50)
    assert json.loads(stopped.stderr.splitlines()[-1])["error"]["code"] == "too_many_rejects"
    limited = json.loads(soma.run("consume", "kv", "--max-rejects", "0", "--until-end", "-o", "json").stdout)
    assert limited["rejected"] == 10
