"""Kafka Connect of a test's own: one worker in distributed mode, with Debezium's JDBC sink and PostgreSQL's driver."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from tests.services.folders import server_folder
from tests.services.jars import jars
from tests.services.kafka import FAST_START
from tests.services.kafka_settings import properties
from tests.services.ports import free_port
from tests.services.processes import OnePort, ServerProcess
from tests.services.required import program

WORKER = Path(__file__).parents[2] / "deploy" / "connect" / "worker.properties"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ConnectServer(OnePort):
    """One worker on loopback, at a broker without access control; its topics and group are its own.

    Everything that it knows lies in the broker: started again, it goes on with the connectors that it had. `settings`
    are lines of its properties, `plugins` a folder of connectors instead of Debezium's.
    """

    def __init__(
        self,
        kafka: str,
        settings: Mapping[str, str] | None = None,
        plugins: Path | None = None,
        jvm: Sequence[str] = FAST_START,
    ) -> None:
        self.port = free_port()
        self._folder = server_folder(self, "connect")
        name = f"c{uuid4().hex[:12]}"
        lines = worker_settings() | {
            "bootstrap.servers": kafka,
            "plugin.path": str(jars("connect").parent if plugins is None else plugins),
            "listeners": f"http://127.0.0.1:{self.port}",
            "group.id": name,
            **{f"{kind}.storage.topic": f"{name}.{kind}s" for kind in ("config", "offset", "status")},
            **{f"{kind}.storage.replication.factor": "1" for kind in ("config", "offset", "status")},
            **_FOR_TESTS,
        }
        file = self._folder / "worker.properties"
        file.write_text(properties(lines | dict(settings or {})))
        options = ["-Xmx512m", *jvm, *_QUIET]
        self.process = ServerProcess(
            [program("java"), "-cp", f"{jars('kafka')}/*", *options, _MAIN, str(file)],
            self._folder / "connect.log",
            lambda _: _answers(self.address),
        )

    @property
    def address(self) -> str:
        """The URL of the REST interface."""
        return f"http://127.0.0.1:{self.port}"


def worker_settings() -> dict[str, str]:
    """The lines of the project's `worker.properties`."""
    lines = (line.strip() for line in WORKER.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


_MAIN = "org.apache.kafka.connect.cli.ConnectDistributed"
_FOR_TESTS = {
    # One partition each, so that they are there quickly.
    "offset.storage.partitions": "1",
    "status.storage.partitions": "1",
    # A worker that was killed is missed within seconds, and what it did is given out again at once.
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    "scheduled.rebalance.max.delay.ms": "0",
    "consumer.session.timeout.ms": "6000",
    "consumer.heartbeat.interval.ms": "1000",
    "plugin.discovery": "service_load",
}
_QUIET = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def _answers(url: str) -> bool:
    """200 once the worker has joined its group and read its configuration."""
    try:
        with _DIRECT.open(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
