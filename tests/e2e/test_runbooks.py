"""The runbooks' drills, on real servers; and what their pages show is what the drills and the workers said.

The commands that stop and start something are given to the drills as they are to an operator's: one line of shell in
the environment. Here it asks this process to do it, on its main thread, with which the servers of a test would end.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest

from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings_loader import load_settings
from soma_cli.core.system import MemorySystem
from tests.e2e.conftest import ROOT, Running, command_line
from tests.services import (
    KafkaCluster,
    PostgresServer,
    RegistryServer,
    kafka_address,
    new_topic_prefix,
    postgres_dsn,
    redis_url,
    registry_url,
)
from tests.services.front import Front, Reply
from tests.services.ports import free_port, give_back
from tests.services.postgres import new_database

RUNBOOKS = ROOT / "runbooks"
DRILLS = sorted(path.stem for path in RUNBOOKS.glob("*.sh") if path.stem != "steps")
WORKERS = ("kv", "vector", "audit", "latest")
DRILL_S = 900.0
"""Dozens of commands, each a process of its own, on a machine that may be busy."""
_AWAY = Reply(503, "text/html", b"<html>no server is available</html>")
_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("\\0" + sys.argv[1])
    asked.sendall(sys.argv[2].encode())
    asked.shutdown(socket.SHUT_WR)
    sys.exit(asked.recv(1) != b"1")
"""
_FOREIGN_WRITER = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1], "partitioner": "murmur2_random"})
for line in sys.stdin.buffer:
    producer.produce(sys.argv[2], line.rstrip(b"\\n"), sys.argv[3].encode())
sys.exit(producer.flush(30))
"""


class Cluster:
    """Settings of a cluster of its own on real servers, its workers, and what may be asked for by name."""

    def __init__(self, folder: Path, kafka: str, dsn: str) -> None:
        self._folder = folder
        self.prefix = new_topic_prefix()
        self.settings = {
            "SOMA_PROFILE": "cluster",
            "SOMA_LOG__BOOTSTRAP_SERVERS": kafka,
            "SOMA_LOG__REPLICATION_FACTOR": "1",
            "SOMA_LOG__PARTITIONS": "2",
            "SOMA_LOG__TOPIC_PREFIX": self.prefix,
            "SOMA_LOG__GROUP_PREFIX": f"{self.prefix}soma",
            "SOMA_STORE__DSN": dsn,
            "SOMA_CACHE__URL": redis_url(),
            "SOMA_CACHE__PREFIX": self.prefix,
            "SOMA_INDEX__KIND": "qdrant_edge",
            "SOMA_REGISTRY__KIND": "files",
            "SOMA_DATA_DIR": str(folder / "data"),
        }
        self.port = free_port()
        self.workers: dict[str, Running] = {}
        self.said: list[Running] = []
        self.asked: dict[str, Callable[[], object]] = {"start kv": lambda: self.start("kv"), "stop kv": self._stop_kv}

    def env(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1", **self.settings, **more}

    def init(self) -> None:
        subprocess.run(command_line(("init",)), env=self.env(), cwd=ROOT, check=True, capture_output=True)

    def start_all(self) -> None:
        """Until each has its partitions."""
        for name in WORKERS:
            self.start(name)
        for name, running in self.workers.items():
            running.says(f"{name} idle")

    def start(self, name: str) -> None:
        port = ("--metrics-port", str(self.port)) if name == "kv" else ()
        running = Running(command_line(("consume", name, *port)), self.env(), self._folder / "workers")
        self.workers[name] = running
        self.said.append(running)

    def _stop_kv(self) -> None:
        assert self.workers["kv"].terminated() == 0

    def close(self) -> None:
        for running in self.said:
            running.kill()
        give_back(self.port)

    def drill(self, name: str, variables: Mapping[str, str] = MappingProxyType({}), **hooks: str) -> str:
        """Run the drill, do meanwhile what it asks for, and return all that it and the workers said."""
        with socket.socket(socket.AF_UNIX) as listening:
            address = f"soma-drill-{self.prefix}"
            listening.bind(f"\0{address}")
            listening.listen()
            listening.settimeout(0.1)
            lines = {variable: _shell(_ASK, address, asked) for variable, asked in hooks.items()}
            foreign = [self.settings["SOMA_LOG__BOOTSTRAP_SERVERS"], f"{self.prefix}memory.events"]
            lines["FOREIGN_WRITER"] = f'{_shell(_FOREIGN_WRITER, *foreign)} "$KEY"'
            lines |= {"KV_METRICS": f"http://127.0.0.1:{self.port}", "PATIENCE_S": "240", **variables}
            command = [str(RUNBOOKS / f"{name}.sh")]
            running = Running(command, self.env(**lines), self._folder / "drill")
            try:
                self._serve(listening, running.process)
            finally:
                running.kill()
        assert running.process.returncode == 0, running.stdout + running.stderr
        assert "thrd:" not in running.stderr, "the client library of Kafka talks to the operator"
        return "\n".join([running.stdout, running.stderr, *(worker.stderr for worker in self.said)])

    def _serve(self, listening: socket.socket, drill: subprocess.Popen[bytes]) -> None:
        while drill.poll() is None:
            try:
                asked, _ = listening.accept()
            except TimeoutError:
                continue
            with asked, asked.makefile("rb") as told:
                self.asked[told.read().decode()]()
                asked.sendall(b"1")


def schema_versions(cluster: Cluster) -> Iterator[tuple[object, bytes | None]]:
    """Of each event in the log: its `source`, and the version of the schema that it was checked with."""
    settings = load_settings(environ=cluster.settings, cwd=ROOT).settings
    with MemorySystem(settings) as system:
        log = system.adapters.log
        for partition, bounds in log.bounds(EVENTS_TOPIC).items():
            for record in log.scan(EVENTS_TOPIC, partition, bounds.beginning, bounds.end):
                yield json.loads(record.value or b"{}").get("source"), record.header("soma-schema-version")


def _shell(script: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", script, *arguments])


def shown(page: str) -> list[str]:
    """What a page shows of messages: the lines of its text blocks, in which `...` stands for anything."""
    text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```text\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def unsaid(lines: list[str], output: str) -> list[str]:
    """The lines that nobody said."""
    said = re.sub(r"[ \t]+", " ", output)

    def pattern(line: str) -> str:
        parts = re.split(r" ?\.\.\. ?", re.sub(r"[ \t]+", " ", line.strip()))
        return ".*".join(map(re.escape, parts))

    return [line for line in lines if not re.search(pattern(line), said)]


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def cluster(tmp_path: Path, servers: ExitStack, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """With its workers; on servers of its own where the drill stops one."""
    drill = request.node.name
    made: dict[str, Callable[[], object]] = {}
    kafka, dsn = kafka_address, postgres_dsn
    if "broker_away" in drill:
        broker = servers.enter_context(KafkaCluster(brokers=1))
        made = {"stop broker": broker.stop, "start broker": broker.start}
        kafka = lambda: broker.address  # noqa: E731
    if "postgres_away" in drill:
        postgres = servers.enter_context(PostgresServer(durable=False))
        made = {"stop postgres": postgres.stop, "start postgres": postgres.start}
        dsn = lambda: new_database(postgres.address)  # noqa: E731
    cluster = Cluster(tmp_path, kafka(), dsn())
    if "schema_migration" in drill:
        # Behind a front, which says that it is away: stopped, this registry would lose the schemas it has in memory.
        registry = servers.enter_context(Front(servers.enter_context(RegistryServer()).address))
        made = {
            "stop registry": partial(setattr, registry, "answer", lambda method, path: _AWAY),
            "start registry": partial(setattr, registry, "answer", lambda method, path: None),
        }
        cluster.settings |= {
            "SOMA_REGISTRY__KIND": "confluent_http",
            "SOMA_REGISTRY__URL": registry.address,
            "SOMA_REGISTRY__TIMEOUT_S": "20",
        }
    cluster.asked |= made
    cluster.init()
    try:
        cluster.start_all()
        yield cluster
    finally:
        cluster.close()


def test_first_start(cluster: Cluster) -> None:
    output = cluster.drill("first-start")
    assert not unsaid(shown("first-start"), output), output


def test_broker_away(cluster: Cluster) -> None:
    output = cluster.drill("broker-away", STOP_BROKER="stop broker", START_BROKER="start broker")
    assert not unsaid(shown("broker-away"), output), output
    assert all(worker.process.poll() is None for worker in cluster.said)


def test_postgres_away(cluster: Cluster) -> None:
    output = cluster.drill("postgres-away", STOP_POSTGRES="stop postgres", START_POSTGRES="start postgres")
    assert not unsaid(shown("postgres-away"), output), output
    assert all(worker.process.poll() is None for worker in cluster.said)


def test_lag_grows(cluster: Cluster) -> None:
    output = cluster.drill("lag-grows", STOP_KV="stop kv", START_KV="start kv")
    assert not unsaid(shown("lag-grows"), output), output


def test_dlq_fills(cluster: Cluster) -> None:
    output = cluster.drill("dlq-fills", START_KV="start kv")
    assert not unsaid(shown("dlq-fills"), output), output
    assert cluster.said[0].wait() == 7


def test_rebuild(cluster: Cluster) -> None:
    output = cluster.drill("rebuild", {"KILL_AFTER_S": "0.6"})
    assert not unsaid(shown("rebuild"), output), output


def test_schema_migration(cluster: Cluster) -> None:
    staging = {"STAGING_REGISTRY": registry_url()}
    output = cluster.drill("schema-migration", staging, STOP_REGISTRY="stop registry", START_REGISTRY="start registry")
    assert not unsaid(shown("schema-migration"), output), output
    assert all(worker.process.poll() is None for worker in cluster.said)
    versions = {(source, header) for source, header in schema_versions(cluster) if source is not None}
    assert versions == {("import", b"2"), ("while the registry was away", b"2"), (5, None), (5, b"3")}


# --- without servers ---


def test_every_drill_has_its_page_and_its_test() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert set(DRILLS) <= tests
    pages = sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")
    assert pages == DRILLS


@pytest.mark.parametrize("name", DRILLS)
def test_a_page_says_what_is_seen_what_it_means_what_to_do_and_when_it_is_over(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert titles == ["What one sees", "What it means", "What to do", "How to know that it is over", "Drill"]
    assert f"runbooks/{name}.sh" in page
    assert shown(name)


@pytest.mark.parametrize("name", [*DRILLS, "steps"])
def test_a_drill_is_sound_shell(name: str) -> None:
    path = RUNBOOKS / f"{name}.sh"
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    assert os.access(path, os.X_OK) == (name != "steps")
    assert "set -euo pipefail" in (RUNBOOKS / "steps.sh").read_text(encoding="utf-8")
    assert name == "steps" or '. "$(dirname "$0")/steps.sh"' in path.read_text(encoding="utf-8")


def test_the_alerts_of_the_rules_are_on_the_pages() -> None:
    rules = (ROOT / "deploy/prometheus/soma-alerts.yml").read_text(encoding="utf-8")
    pages = "".join(path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md"))
    assert not [alert for alert in re.findall(r"- alert: (\w+)", rules) if f"`{alert}`" not in pages]
