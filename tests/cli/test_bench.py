"""soma bench: the shape of its report, where it works, and what it may not touch. Never how fast anything is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from soma_cli.bench.cluster.rows import CLUSTER, CLUSTER_LONG
from soma_cli.bench.comparison import Comparison, NotHere, Target, measure
from soma_cli.bench.suite import BENCHMARKS, LONG, run
from soma_cli.main import app

ROOT = Path(__file__).parents[2]
IN_PROCESS = [name for name in BENCHMARKS if name not in ("help", "store", "get", "idle-cpu", "idle-memory")]
HEAVY = {
    "soma_cli.bench", "soma_cli.core.system", "soma_cli.core.results", "soma_cli.core.settings", "soma_cli.core.ports",
    "sqlite3", "jsonschema", "jsonschema_rs", "qdrant_edge", "qdrant_client", "confluent_kafka", "psycopg", "redis",
    "httpx", "yaml", "filelock", "rich.console",
}  # fmt: skip


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, ours alone; and a data folder of the user's that must stay absent."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("SOMA_DATA_DIR", str(tmp_path / "data"))
    return folder


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "--events", "100", "--repeat", "1", *arguments])


def test_the_report_as_json(temporary: Path) -> None:
    done = bench("--only", "append,validate", "-o", "json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["rows"]] == ["validate", "append"]
    assert {"cpu", "cores", "python", "sqlite"} <= report["machine"].keys()
    assert (report["events"], report["repeat"], report["folder"]) == (100, 1, str(temporary))
    for row in report["rows"]:
        assert row["ratio"] == pytest.approx(row["soma"] / row["baseline"])
        assert row["baseline_is"]
    assert report["missed"] == [row["name"] for row in report["rows"] if not row["met"]]
    assert done.stderr.splitlines() == ["soma: measuring validate", "soma: measuring append"]


def test_nothing_is_left_behind_and_no_data_of_the_users_is_touched(temporary: Path) -> None:
    assert bench("--only", "append,write,store").exit_code == 0
    assert list(temporary.iterdir()) == []
    assert not (temporary.parent / "data").exists()


def test_the_table_names_the_machine_and_counts_the_targets(temporary: Path) -> None:
    lines = bench("--only", "append").stdout.splitlines()
    assert "SQLite" in lines[1]
    assert lines[4].split()[:5] == ["row", "soma", "baseline", "ratio", "target"]
    assert lines[5].startswith("append")
    assert " of 1 targets met" in lines[-1]


def test_an_unknown_row_is_refused_with_the_rows_there_are(temporary: Path) -> None:
    done = bench("--only", "append,aply")
    assert done.exit_code == 2
    assert "'aply'" in done.stderr
    assert all(name in done.stderr for name in [*BENCHMARKS, *LONG])


@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_row_measures_something(name: str, temporary: Path) -> None:
    [row] = run([name], events=100, repeat=1).rows
    assert row.soma is not None
    assert row.soma > 0
    assert row.met is not None


@pytest.fixture
def cluster(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, kafka_address: str, postgres_dsn: str, redis_url: str
) -> Servers:
    """The settings of a cluster in the environment, and what there is on its servers."""
    servers = Servers(kafka_address, postgres_dsn, redis_url)
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    return servers


class Servers:
    """The shared servers, of which this test has a database alone."""

    def __init__(self, kafka: str, dsn: str, redis_url: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._dsn, self._redis_url = dsn, redis_url
        self.environment = {
            "SOMA_PROFILE": "cluster",
            "SOMA_LOG__BOOTSTRAP_SERVERS": kafka,
            "SOMA_LOG__REPLICATION_FACTOR": "1",
            "SOMA_LOG__PARTITIONS": "2",
            "SOMA_STORE__DSN": dsn,
            "SOMA_CACHE__URL": redis_url,
            "SOMA_REGISTRY__KIND": "files",
        }

    def made(self) -> set[str]:
        """Topics, groups, schemas and keys of benchmarks; all that measure on these servers are in this file."""
        found = {topic for topic in self._admin.list_topics(timeout=30).topics if topic.startswith("soma_bench_")}
        groups = self._admin.list_consumer_groups().result(30).valid or []
        found |= {group.group_id for group in groups if group.group_id.startswith("soma_bench_")}
        with redis.Redis.from_url(self._redis_url) as client:
            found |= {key.decode() for key in client.scan_iter(match="soma_bench_*")}
        return found | self.schemas()

    def check_nothing_is_left(self) -> None:
        """Brokers hear a moment later that topics are gone."""
        deadline = time.monotonic() + 30
        while (left := self.made()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == set()

    def schemas(self) -> set[str]:
        with psycopg.connect(self._dsn) as connection:
            rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'soma_bench_%'").fetchall()
        return {row[0] for row in rows}


CHEAP = "produce-0.2k,ack,consume,apply,one-by-one,follow,visible-500,compare,rebuild,cache,by-key,worker-cost"


def test_the_rows_of_a_cluster_and_nothing_left_behind(cluster: Servers, temporary: Path) -> None:
    done = bench("--only", CHEAP, "-o", "json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == [name for name in CLUSTER if name in CHEAP.split(",")]
    assert [row["note"] for row in rows.values()] == [""] * len(rows)
    # Of so few events the worker's cost is the difference of two starts: anything.
    assert [name for name, row in rows.items() if row["soma"] <= 0 and name != "worker-cost"] == []
    assert rows["worker-cost"]["more"]["peak memory MB"] > 0
    assert {name for name, row in rows.items() if row["baseline"] is None} == {"visible-500", "worker-cost", "compare"}
    assert all(row["baseline_is"] for row in rows.values() if row["baseline"] is not None)
    assert {name for name, row in rows.items() if row["met"] is None} == {"consume", "visible-500", "worker-cost"}
    assert rows["visible-500"]["soma"] == rows["visible-500"]["more"]["p95 ms"]
    assert {"Kafka", "PostgreSQL", "Redis"} == report["servers"].keys()
    cluster.check_nothing_is_left()
    assert list(temporary.iterdir()) == []


def test_a_benchmark_that_is_ended_takes_its_things_away(cluster: Servers, temporary: Path) -> None:
    """The million events of a long run are never all there when the signal comes."""
    environment = {**os.environ, **cluster.environment, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "soma_cli", "bench", "--only", "memory"]
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(command, cwd=temporary, env={**environment, "PYTHONPATH": str(ROOT)}) as process:
            deadline = time.monotonic() + 120
            while not cluster.made() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(number)
            assert process.wait(120) != 0
        cluster.check_nothing_is_left()
        assert list(temporary.iterdir()) == []


def test_an_unknown_row_of_a_cluster_is_refused_with_its_rows(cluster: Servers) -> None:
    done = bench("--only", "append")
    assert done.exit_code == 2
    assert all(name in done.stderr for name in [*CLUSTER, *CLUSTER_LONG])


def test_a_server_that_is_away_is_told_before_anything_is_measured(
    cluster: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMA_STORE__DSN", "postgresql://soma@127.0.0.1:1/soma")
    done = bench("--only", "ack")
    assert done.exit_code == 4
    assert "store.dsn" in done.stderr
    assert "measuring" not in done.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="read from /proc")
def test_the_memory_of_an_idle_worker_is_its_own(temporary: Path) -> None:
    [row] = run(["idle-memory"], events=100, repeat=1).rows
    assert row.note == ""
    assert row.soma is not None
    assert 20 < row.soma < 2000


def test_soma_and_the_baseline_take_turns_and_the_medians_count() -> None:
    order: list[str] = []
    figures = {"a": iter([9.0, 2.0, 3.0]), "b": iter([1.0, 8.0, 2.0])}

    def round_of(side: str) -> float:
        order.append(side)
        return next(figures[side])

    comparison = Comparison("it", "us", Target(2.0), lambda: round_of("a"), lambda: round_of("b"), "that")
    row = measure("it", comparison, 3)
    assert "".join(order) == "ababab"
    assert (row.soma, row.baseline, row.ratio, row.target, row.met) == (3.0, 2.0, 1.5, "<= 2x", True)


@pytest.mark.parametrize(
    ("target", "unit", "figure", "ratio", "met", "shown"),
    [
        (Target(0.6), "/s", 1.0, 0.61, True, ">= 0.6x"),
        (Target(0.6), "/s", 1.0, 0.59, False, ">= 0.6x"),
        (Target(1.5), "ms", 1.0, 1.51, False, "<= 1.5x"),
        (Target(100_000, "figure"), "/s", 100_001.0, 0.1, True, ">= 100,000/s"),
        (Target(150, "figure"), "MB", 151.0, None, False, "<= 150 MB"),
        (Target(2, "figure"), "%", 1.9, None, True, "<= 2%"),
    ],
)
def test_a_target_bounds_rates_from_below_and_all_else_from_above(
    target: Target, unit: str, figure: float, ratio: float | None, met: bool, shown: str
) -> None:
    assert target.met(unit, figure, ratio) is met  # type: ignore[arg-type]
    assert target.shown(unit) == shown  # type: ignore[arg-type]


def test_what_this_machine_cannot_measure_is_neither_met_nor_missed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(workload: object) -> object:
        raise NotHere("it has no clock")

    monkeypatch.setitem(BENCHMARKS, "validate", absent)  # type: ignore[arg-type]
    report = run(["validate"], events=100, repeat=1)
    assert (report.rows[0].met, report.rows[0].note, report.missed) == (None, "it has no clock", [])


def test_nothing_heavy_is_imported_on_the_way_to_help() -> None:
    code = "import sys, soma_cli.main; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert HEAVY & set(done.stdout.split()) == set()
