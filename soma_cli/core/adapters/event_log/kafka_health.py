"""What `doctor` asks of the brokers: whether they are there, and the topics whole and as they should be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka.admin import AclOperation, TopicDescription  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka_cluster import TOPICS, KafkaCluster
from soma_cli.core.adapters.event_log.kafka_topics import differences
from soma_cli.core.errors import ConfigurationError, SomaError
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.results import RUN_INIT, Finding

_NEEDED = {AclOperation.READ: "Read", AclOperation.WRITE: "Write", AclOperation.DESCRIBE: "Describe"}
_OPEN_S = 3.0
"""A transaction that is open for less is one that somebody is at."""
_PAUSE_S = 0.1


def health(cluster: KafkaCluster) -> list[Finding]:
    """Clocks of brokers can't be asked for; whoever appends sees theirs in the append times."""
    try:
        return [_brokers(cluster), *_topics(cluster)]
    except SomaError as error:
        return [Finding("log", "error", error.message, error.hint)]


def _brokers(cluster: KafkaCluster) -> Finding:
    found = cluster.brokers()
    nodes = ", ".join(f"{node.id} ({node.host}:{node.port})" for node in sorted(found.nodes, key=lambda node: node.id))
    servers, count = cluster.client.servers, len(found.nodes)
    if found.controller is None:
        return Finding("log", "error", f"the brokers at {servers} have no controller: {nodes}", "look at their logs")
    return Finding(
        "log",
        "ok",
        f"{count} broker{'' if count == 1 else 's'} at {servers}: {nodes}; controller {found.controller.id}",
    )


def _topics(cluster: KafkaCluster) -> Iterator[Finding]:
    existing = cluster.existing()
    if not existing:
        servers = cluster.client.servers
        yield Finding(
            "topics", "error", f"none of soma's topics is at {servers}, or this user may not see them", RUN_INIT
        )
        return
    for topic in TOPICS:
        if topic not in existing:
            yield Finding(f"topic {topic}", "error", "it is not there, or this user may not see it", RUN_INIT)
    yield from _policies(cluster, existing)
    for topic, description in cluster.describe(existing, rights=True).items():
        yield from _replicas(topic, description, cluster.client.servers)
        yield from _rights(topic, description)
    if EVENTS_TOPIC in existing:
        yield from _open_transactions(cluster)


def _policies(cluster: KafkaCluster, topics: Sequence[str]) -> Iterable[Finding]:
    try:
        return list(differences(cluster, topics))
    except ConfigurationError as error:
        if error.code != "not_authorized":
            raise
        return [Finding("topics", "warning", f"their policies are not known: {error.message}", error.hint)]


def _replicas(topic: str, description: TopicDescription, servers: str) -> Iterator[Finding]:
    offline = [item.id for item in description.partitions if item.leader is None or item.leader.id < 0]
    behind = [item.id for item in description.partitions if len(item.isr) < len(item.replicas)]
    hint = f"kafka-topics.sh --bootstrap-server {servers} --describe --under-replicated-partitions says which broker"
    if offline:
        yield Finding(f"topic {topic}", "error", f"no leader for the partitions {offline}: they can't be used", hint)
    if behind:
        yield Finding(f"topic {topic}", "warning", f"replicas are missing of the partitions {behind}", hint)


def _open_transactions(cluster: KafkaCluster) -> Iterator[Finding]:
    """Nothing behind an open transaction is read by anyone, and it is counted in no lag."""
    servers, name = cluster.client.servers, cluster.client.on_broker(EVENTS_TOPIC)
    for partition, count in _long_held_back(cluster).items():
        records = "1 record" if count == 1 else f"{count:,} records"
        yield Finding(
            f"topic {EVENTS_TOPIC}",
            "error",
            f"an open transaction holds back {records} of {EVENTS_TOPIC}/{partition} from every reader",
            f"kafka-transactions.sh --bootstrap-server {servers} describe-producers --topic {name} --partition "
            f"{partition} says whose it is (find-hanging: whether its producer is gone), and abort ends it; else it "
            "ends at its producer's transaction.timeout.ms",
        )


def _long_held_back(cluster: KafkaCluster) -> dict[int, int]:
    """Those partitions in which something is held back all the time that is looked."""
    found, deadline = _held_back(cluster), time.monotonic() + _OPEN_S
    while found and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        found = {number: count for number, count in _held_back(cluster).items() if number in found}
    return found


def _held_back(cluster: KafkaCluster) -> dict[int, int]:
    return {number: end - first for number, (first, end) in cluster.held_back(EVENTS_TOPIC).items()}


def _rights(topic: str, description: TopicDescription) -> Iterator[Finding]:
    allowed = description.authorized_operations
    missing = [name for operation, name in _NEEDED.items() if allowed and operation not in allowed]
    if missing:
        yield Finding(
            f"topic {topic}",
            "warning",
            f"this user lacks {', '.join(missing)} on it",
            "a process needs it only where its work touches the topic; grant it with kafka-acls.sh",
        )
