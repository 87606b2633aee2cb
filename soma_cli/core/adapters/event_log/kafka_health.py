"""What `doctor` asks of the brokers: whether they are there, and the topics whole and as they should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka.admin import AclOperation, TopicDescription  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka_cluster import TOPICS, KafkaCluster
from soma_cli.core.adapters.event_log.kafka_topics import differences
from soma_cli.core.errors import ConfigurationError, SomaError
from soma_cli.core.results import Finding

_NEEDED = {AclOperation.READ: "Read", AclOperation.WRITE: "Write", AclOperation.DESCRIBE: "Describe"}


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
    for topic in TOPICS:
        if topic not in existing:
            yield Finding(f"topic {topic}", "error", "it is not there, or this user may not see it", "run `soma init`")
    yield from _policies(cluster, existing)
    for topic, description in cluster.describe(existing, rights=True).items():
        yield from _replicas(topic, description, cluster.client.servers)
        yield from _rights(topic, description)


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
