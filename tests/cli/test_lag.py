"""`soma lag`: the truth about each projection, and exit 7 where it is worse than was asked for."""

import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.commands import lag as lag_command
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.results import GroupLag, LagReport, PartitionLag
from soma_cli.core.settings import LogSettings, Settings
from soma_cli.core.system import MemorySystem
from soma_cli.main import app
from soma_cli.output import Output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def soma(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def lag(folder: Path, *arguments: str) -> dict:
    result = soma(folder, "lag", "-o", "json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def store(folder: Path, count: int) -> None:
    with MemorySystem(Settings(data_dir=folder)) as system:
        for number in range(count):
            system.store(text=f"memory {number}")


def backdate(folder: Path, seconds: int) -> None:
    with sqlite3.connect(folder / "log.sqlite3") as log:
        log.execute("UPDATE records SET appended_at = appended_at - ?", (seconds * 1_000_000,))
    log.close()


def test_an_empty_folder_is_idle_and_gets_no_index(folder: Path) -> None:
    report = lag(folder)
    assert report["breaches"] == []
    for name, group in zip(("soma-kv", "soma-vector"), report["groups"], strict=True):
        assert group == {
            "group": name,
            "state": "idle",
            "lag": 0,
            "oldest_age_s": None,
            "rate_per_s": None,
            "eta_s": None,
            "partitions": [{"topic": "memory.events", "partition": 0, "committed": 0, "end": 0, "lag": 0}],
            "unserved": [],
        }
    assert not (folder / "index").exists()


def test_it_shows_what_waits_and_applies_nothing(folder: Path) -> None:
    store(folder, 3)
    backdate(folder, 3600)
    for _ in range(2):
        kv, vector = lag(folder)["groups"]
        assert (kv["lag"], kv["state"], vector["lag"], vector["state"]) == (3, "stopped", 3, "stopped")
        assert kv["partitions"] == [{"topic": "memory.events", "partition": 0, "committed": 0, "end": 3, "lag": 3}]
        assert 3600 <= kv["oldest_age_s"] < 3660
    assert not (folder / "index").exists()


def test_each_projection_has_its_own_position(folder: Path) -> None:
    store(folder, 2)
    assert soma(folder, "list").exit_code == 0
    kv, vector = lag(folder)["groups"]
    assert (kv["lag"], kv["state"], vector["lag"], vector["state"]) == (0, "idle", 2, "stopped")
    assert (kv["oldest_age_s"], kv["partitions"][0]["committed"]) == (None, 2)
    assert soma(folder, "search", "memory").exit_code == 0
    assert [group["lag"] for group in lag(folder)["groups"]] == [0, 0]


def test_the_oldest_is_the_first_that_was_not_passed(folder: Path) -> None:
    store(folder, 1)
    soma(folder, "list")
    backdate(folder, 3600)
    store(folder, 1)
    kv, vector = lag(folder)["groups"]
    assert kv["oldest_age_s"] < 60
    assert vector["oldest_age_s"] >= 3600


def test_a_threshold_that_is_exceeded_exits_7_with_the_report_on_stdout(folder: Path) -> None:
    store(folder, 3)
    backdate(folder, 120)
    assert lag(folder, "--threshold", "3", "--max-age", "10m")["breaches"] == []
    result = soma(folder, "lag", "-o", "json", "--threshold", "2", "--max-age", "1m")
    assert result.exit_code == 7
    breaches = json.loads(result.stdout)["breaches"]
    assert [(row["group"], row["what"], row["limit"]) for row in breaches] == [
        ("soma-kv", "lag", 2),
        ("soma-kv", "oldest_age_s", 60.0),
        ("soma-vector", "lag", 2),
        ("soma-vector", "oldest_age_s", 60.0),
    ]
    assert breaches[0]["value"] == 3
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "lag_breached"
    assert error["details"]["breaches"] == breaches


def test_a_running_worker_makes_its_group_active_with_its_own_rate(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    store(folder, 2)
    with MemorySystem(settings) as system:
        worker = system.admin.worker("kv")
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while (group := system.admin.lag().groups[0]).lag or group.rate_per_s is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert group.state == "active"
            assert group.rate_per_s >= 0
            assert system.admin.lag().groups[1].state == "stopped"
        finally:
            worker.stop.set()
            thread.join()
        stopped = system.admin.lag().groups[0]
    assert (stopped.state, stopped.rate_per_s) == ("idle", None)


def test_the_time_left_is_lag_by_rate(folder: Path) -> None:
    settings = Settings(data_dir=folder, log=LogSettings(group_prefix="team"))
    store(folder, 3)
    with MemorySystem(settings) as system:
        consumer = system.adapters.log.consumer("team-kv", "memory.events", lambda partition: 0)
        consumer.commit({0: 0}, 2.0)
        group = system.admin.lag().groups[0]
        assert (group.group, group.rate_per_s, group.eta_s) == ("team-kv", 2.0, 1.5)
        consumer.commit({0: 0}, 0.0)
        group = system.admin.lag().groups[0]
        assert (group.rate_per_s, group.eta_s) == (0.0, None)
        consumer.close()


def test_a_position_behind_the_end_of_the_log_is_never_called_healthy(folder: Path) -> None:
    store(folder, 2)
    soma(folder, "list")
    with sqlite3.connect(folder / "log.sqlite3") as log:
        log.execute("DELETE FROM records WHERE seq & 1")
    log.close()
    kv = lag(folder)["groups"][0]
    assert (kv["state"], kv["lag"]) == ("out_of_range", 0)
    result = soma(folder, "lag", "-o", "json", "--threshold", "1000")
    assert result.exit_code == 7
    assert json.loads(result.stdout)["breaches"] == [
        {"group": "soma-kv", "what": "out_of_range", "value": 2, "limit": 1}
    ]


def test_text_has_a_row_a_partition_and_says_who_applies_what_waits(folder: Path) -> None:
    store(folder, 1)
    result = soma(folder, "lag")
    heading, kv, vector = result.stdout.splitlines()
    assert heading.split()[:5] == ["group", "partition", "committed", "end", "lag"]
    assert kv.split()[:5] == ["soma-kv", "memory.events/0", "0", "1", "1"]
    assert vector.split()[-1] == "stopped"
    assert "soma-kv: no worker runs; the next read applies what waits" in result.stderr


def test_watch_on_a_pipe_prints_an_object_or_a_line_each_time(folder: Path) -> None:
    store(folder, 1)
    watch = ("--watch", "--interval", "0.01s", "--count", "3")
    result = soma(folder, "lag", "-o", "json", *watch)
    assert [json.loads(line)["groups"][0]["lag"] for line in result.stdout.splitlines()] == [1, 1, 1]
    lines = soma(folder, "lag", *watch).stdout.splitlines()
    assert len(lines) == 3
    assert all("soma-kv stopped, lag 1" in line for line in lines)
    assert soma(folder, "lag", *watch, "--threshold", "0").exit_code == 7


def test_ctrl_c_ends_a_watch_with_exit_0(folder: Path) -> None:
    store(folder, 1)
    command = [sys.executable, "-m", "soma_cli", "lag", "--watch", "--interval", "20s", "--threshold", "0"]
    environ = {**os.environ, "SOMA_DATA_DIR": str(folder), "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 10)[0], "the first line was not flushed"
        assert b"soma-kv" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("arguments", [("--max-age", "soon"), ("--max-age=-1s",), ("--watch", "--interval=-1s")])
def test_what_is_no_duration_is_a_usage_error(folder: Path, arguments: tuple[str, ...]) -> None:
    assert soma(folder, "lag", *arguments).exit_code == 2


def shown(report: LagReport, partitions: bool, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    lag_command._table(report, partitions)
    return [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()[1:]]


def test_many_partitions_are_one_line_unless_each_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [PartitionLag("memory.events", number, 1000, 1000 + number, number) for number in range(3)]
    report = LagReport([GroupLag("soma-kv", "active", 3, 2.0, 10.0, 0.3, rows)], [])
    whole = ["2.0 s", "10/s", "0.3 s", "active"]
    [line] = shown(report, False, capsys)
    assert line == ["soma-kv", "3 partitions, most in 2", "3,000", "3,003", "3", *whole]
    lines = shown(report, True, capsys)
    assert [row[1:5] for row in lines] == [[f"memory.events/{n}", "1,000", f"{1000 + n:,}", str(n)] for n in range(3)]
    nothing = ["-", "-", "-", "active"]  # the group's oldest is no event of a partition without lag
    assert [row[5:] for row in lines] == [nothing, whole, whole]


def test_a_watch_goes_on_where_a_server_is_away_for_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    away = ServiceUnavailable("no answer", hint="is it running?")
    report = LagReport([GroupLag("soma-kv", "active", 3, None, None, None, [])], [])
    looks: list[LagReport | ServiceUnavailable] = [away, report, away, report]

    def look() -> LagReport:
        found = looks.pop(0)
        if isinstance(found, ServiceUnavailable):
            raise found
        return found

    assert lag_command._streamed(look, 0.0, 4, Output()) is report
    shown = capsys.readouterr()
    assert [line.endswith("soma-kv active, lag 3") for line in shown.out.splitlines()] == [True, True]
    assert shown.err == "soma: no answer\n      is it running?\n" * 2
    looks += [report, away]
    with pytest.raises(ServiceUnavailable):  # as without --watch: the last look is what it ends with
        lag_command._streamed(look, 0.0, 2, Output())
