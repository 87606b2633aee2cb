"""The server.properties of a test broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FOR_TESTS = {
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    # Consumers: short sessions are allowed, and the first one of a group gets its partitions at once.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    # Internal topics: few partitions, so that they are there quickly.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # A lost broker is noticed within seconds.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "replica.lag.time.max.ms": "3000",
    # Compaction, retention and deletion do not wait.
    "log.cleaner.backoff.ms": "100",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "1000",
}


@dataclass(frozen=True)
class Ports:
    """Where a broker listens: for other brokers and clients without a password, for controllers, for users."""

    broker: int
    controller: int
    client: int | None


def broker_settings(index: int, cluster: Sequence[Ports], data: Path) -> dict[str, str]:
    """Broker number `index` of a cluster."""
    ports = cluster[index]
    advertised = [f"BROKER://127.0.0.1:{ports.broker}"]
    if ports.client is not None:
        advertised.append(f"CLIENT://127.0.0.1:{ports.client}")
    return {
        "process.roles": "broker,controller",
        "node.id": str(index + 1),
        "controller.quorum.voters": ",".join(f"{n + 1}@127.0.0.1:{at.controller}" for n, at in enumerate(cluster)),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKER",
        "listeners": ",".join([*advertised, f"CONTROLLER://127.0.0.1:{ports.controller}"]),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,CLIENT:SASL_SSL",
        "log.dirs": str(data),
        **_FOR_TESTS,
        **_replication(len(cluster)),
    }


def properties(settings: Mapping[str, str]) -> str:
    """The settings as a properties file."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _replication(brokers: int) -> dict[str, str]:
    factor, in_sync = str(brokers), str(max(1, brokers - 1))
    return {
        "default.replication.factor": factor,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
