"""Apache Kafka of a test's own: one broker, or three of which one may be lost.

What the brokers allow, beyond Kafka's defaults: sessions of consumers from 1 s, transactions that timed out aborted
within half a second, a cleaner and a retention check that look for work all the time. Topics are not created by
themselves. To force a compaction, give the topic `segment.ms` or `segment.bytes` (1 MiB is the least) and
`min.cleanable.dirty.ratio=0.01`, and write one more record to each partition: the active segment is never cleaned.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Self
from uuid import uuid4

from tests.services.folders import server_folder
from tests.services.jars import jars
from tests.services.kafka_access import Access
from tests.services.kafka_settings import Ports, broker_settings, properties
from tests.services.ports import free_port, give_back
from tests.services.processes import ServerProcess, tied
from tests.services.required import StartFailed, program

FAST_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For tests; a benchmark gives other options for the JVM, so that the code is compiled in full."""


class KafkaCluster:
    """Kafka in KRaft mode on loopback: `brokers` processes (1 or 3), each a broker and a controller.

    With three, every topic that names no replication factor has 3 replicas, `min.insync.replicas` is 2, and losing
    any one leaves a working cluster. `settings` are lines of server.properties. `start`, `stop`, `kill`, `pause` and
    `resume` are for all brokers, or for one by its number from 0; ports and data stay the same.

    With `users` (name -> password), `address` wants TLS and a SCRAM-SHA-256 password, `access.client(user)` has the
    settings of a client for it, and what no ACL allows is forbidden. `open_address` lets everybody do everything:
    topics and ACLs are made there.
    """

    def __init__(
        self,
        brokers: int = 1,
        settings: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        jvm: Sequence[str] = FAST_START,
    ) -> None:
        self.folder = server_folder(self, "kafka")
        self.access = Access(users, self.folder) if users else None
        self._ports = [Ports(free_port(), free_port(), free_port() if users else None) for _ in range(brokers)]
        self._formatted = False
        self._java = [program("java"), "-cp", f"{jars('kafka')}/*", "-Xmx512m" if brokers == 1 else "-Xmx384m", *_QUIET]
        chosen = {**(self.access.broker_settings() if self.access else {}), **(settings or {})}
        self.processes = [self._process(index, chosen, jvm) for index in range(brokers)]

    @property
    def address(self) -> str:
        """The bootstrap list, of the listeners that want a password if there are users."""
        return ",".join(f"127.0.0.1:{ports.client or ports.broker}" for ports in self._ports)

    @property
    def open_address(self) -> str:
        """The bootstrap list of the listeners that want none."""
        return ",".join(f"127.0.0.1:{ports.broker}" for ports in self._ports)

    def start(self, broker: int | None = None) -> Self:
        """Start, or start again, and wait until the brokers serve clients. Raises StartFailed."""
        if not self._formatted:
            self._format()
        for process in self._chosen(broker):
            process.spawn()
        try:
            for process in self._chosen(broker):
                process.wait_until_ready()
        except StartFailed:
            self.kill(broker)
            raise
        return self

    def stop(self, broker: int | None = None) -> None:
        """A controlled shutdown. All of three at once are killed: without a quorum none could end in order."""
        for process in self._chosen(broker):
            process.stop() if broker is not None or len(self.processes) == 1 else process.kill()

    def kill(self, broker: int | None = None) -> None:
        for process in self._chosen(broker):
            process.kill()

    def pause(self, broker: int | None = None) -> None:
        for process in self._chosen(broker):
            process.pause()

    def resume(self, broker: int | None = None) -> None:
        for process in self._chosen(broker):
            process.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        for ports in self._ports:
            for port in (ports.broker, ports.controller, ports.client):
                give_back(port)

    def _chosen(self, broker: int | None) -> Iterable[ServerProcess]:
        return self.processes if broker is None else [self.processes[broker]]

    def _process(self, index: int, settings: Mapping[str, str], jvm: Sequence[str]) -> ServerProcess:
        home = self.folder / f"broker-{index}"
        home.mkdir()
        lines = broker_settings(index, self._ports, home / "data") | dict(settings)
        (home / "server.properties").write_text(properties(lines))
        return ServerProcess(
            [*self._java, *jvm, "kafka.Kafka", "server.properties"], home / f"kafka-{index}.log", _is_started
        )

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        tool = [*self._java, *FAST_START, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
        tool += ["-c", "server.properties", *(self.access.format_arguments() if self.access else [])]
        pipe = subprocess.PIPE
        runs = [
            subprocess.Popen(tied(tool), cwd=process.log.parent, stdout=pipe, stderr=subprocess.STDOUT, text=True)
            for process in self.processes
        ]
        outputs = [run.communicate()[0] for run in runs]
        for run, output in zip(runs, outputs, strict=True):
            if run.returncode != 0:
                raise StartFailed(f"Kafka's storage could not be formatted:\n{output}")
        self._formatted = True


_QUIET = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def _is_started(output: str) -> bool:
    """The broker says so when it is registered, has the metadata and is let in by the controller."""
    return "Kafka Server started" in output
