"""The topics of soma: how they are made, and in what those that are there differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka.admin import NewTopic, TopicDescription  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster
from soma_cli.core.ports import Provisioned
from soma_cli.core.record import (
    AUDIT_TOPIC,
    DEAD_LETTER_TOPIC,
    EVENTS_TOPIC,
    LATEST_TOPIC,
    REQUESTS_TOPIC,
    RESPONSES_TOPIC,
)
from soma_cli.core.results import Finding
from soma_cli.core.settings import LogSettings

_DAY_MS = 86_400_000
_MIB = 1 << 20
EVENT_BYTES = 8 * _MIB
COPY_BYTES = 10 * _MIB
"""An audit record and a dead letter carry an event and what is said of it besides."""
_COPIES = (AUDIT_TOPIC, LATEST_TOPIC)
"""What these hold lies in the partition of the same number as what it was made from."""
_LARGEST = "max.message.bytes"
_ERRORS = {"cleanup.policy", "message.timestamp.type", "min.compaction.lag.ms", "retention.ms", "retention.bytes"}


class Policy(NamedTuple):
    """What a topic should be like. `config` has the names and values that the broker uses."""

    partitions: int
    config: dict[str, str]


def policies(settings: LogSettings) -> dict[str, Policy]:
    """The policy of every topic, by name without prefix."""
    lag = {"min.compaction.lag.ms": str(int(settings.compaction_lag_s * 1000))}
    for_ever = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    a_week = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)}
    compact = {"cleanup.policy": "compact"}
    many = settings.partitions
    chosen = {
        EVENTS_TOPIC: Policy(many, compact | lag | _size(EVENT_BYTES)),
        AUDIT_TOPIC: Policy(many, for_ever | _size(COPY_BYTES)),
        LATEST_TOPIC: Policy(many, compact | _size(COPY_BYTES)),
        REQUESTS_TOPIC: Policy(many, a_week | _size(EVENT_BYTES)),
        RESPONSES_TOPIC: Policy(many, a_week | _size(EVENT_BYTES)),
        DEAD_LETTER_TOPIC: Policy(1, compact | {"min.compaction.lag.ms": str(7 * _DAY_MS)} | _size(COPY_BYTES)),
    }
    common = {"message.timestamp.type": "LogAppendTime"}
    if settings.replication_factor >= 3:
        common["min.insync.replicas"] = "2"
    return {topic: Policy(policy.partitions, policy.config | common) for topic, policy in chosen.items()}


def fitting(cluster: KafkaCluster, existing: Sequence[str]) -> dict[str, Policy]:
    """The same, where what takes copies of events has room for those that `memory.events` may hold as it is."""
    wanted = policies(cluster.client.settings)
    if EVENTS_TOPIC not in existing:
        return wanted
    for topic in _COPIES:
        wanted[topic] = wanted[topic]._replace(partitions=cluster.known(EVENTS_TOPIC).partitions)
    largest = int(cluster.config(EVENTS_TOPIC).get(_LARGEST, EVENT_BYTES))
    for topic in (*_COPIES, DEAD_LETTER_TOPIC) if largest > EVENT_BYTES else ():
        wanted[topic].config.update(_size(largest + COPY_BYTES - EVENT_BYTES))
    return wanted


def _size(limit: int) -> dict[str, str]:
    return {_LARGEST: str(limit)}


def provision(cluster: KafkaCluster) -> Provisioned:
    """Make what is missing; name what is there, and what differs in it."""
    settings, client = cluster.client.settings, cluster.client
    existing = cluster.existing()
    wanted = fitting(cluster, existing)
    new = [
        NewTopic(client.on_broker(topic), policy.partitions, settings.replication_factor, config=policy.config)
        for topic, policy in wanted.items()
        if topic not in existing
    ]
    created = [client.ours(name) for name in cluster.create(new)]
    for topic in created:
        cluster.forget(topic)
    existing = [topic for topic in wanted if topic not in created]
    differing = [finding for finding in differences(cluster, existing) if finding.status != "ok"]
    return Provisioned([f"topic {topic}" for topic in created], [f"topic {topic}" for topic in existing], differing)


def differences(cluster: KafkaCluster, topics: Sequence[str]) -> Iterator[Finding]:
    """One finding for each topic that is as it should be, or one for each thing that is not."""
    wanted, configs = fitting(cluster, topics), cluster.configs(topics)
    for topic, description in cluster.describe(topics).items():
        found = list(_differing(cluster, topic, wanted[topic], description, configs[topic]))
        count = len(description.partitions)
        partitions = f"{count} partition{'' if count == 1 else 's'}"
        yield from found or [Finding(f"topic {topic}", "ok", f"{partitions}, policy as set")]


def _differing(
    cluster: KafkaCluster, topic: str, policy: Policy, description: TopicDescription, config: Mapping[str, str]
) -> Iterator[Finding]:
    check, name, servers = f"topic {topic}", cluster.client.on_broker(topic), cluster.client.servers
    yield from _partitions(cluster, topic, policy.partitions, len(description.partitions))
    replicas = min(len(partition.replicas) for partition in description.partitions)
    if replicas != cluster.client.settings.replication_factor:
        yield Finding(
            check,
            "warning",
            f"replication factor {replicas}, log.replication_factor says {cluster.client.settings.replication_factor}",
            f"kafka-reassign-partitions.sh --bootstrap-server {servers} --reassignment-json-file FILE --execute moves "
            f"the replicas of {name}; or set log.replication_factor",
        )
    for key, value in policy.config.items():
        if not _suffices(key, config.get(key), value):
            yield Finding(
                check,
                "error" if key in _ERRORS or (key == _LARGEST and topic in _COPIES) else "warning",
                f"{key} is {config.get(key)}, not {value}",
                f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {name} "
                f"--add-config {key}={value}",
            )


def _partitions(cluster: KafkaCluster, topic: str, wanted: int, count: int) -> Iterator[Finding]:
    check, name, servers = f"topic {topic}", cluster.client.on_broker(topic), cluster.client.servers
    if topic in _COPIES and count < wanted:
        yield Finding(
            check,
            "error",
            f"it has {count} partition{'' if count == 1 else 's'}, {EVENTS_TOPIC} has {wanted}: what lies in others "
            "cannot be copied",
            f"kafka-topics.sh --bootstrap-server {servers} --alter --topic {name} --partitions {wanted}",
        )
    elif topic not in _COPIES and count != wanted:
        yield Finding(
            check,
            "error" if topic != DEAD_LETTER_TOPIC else "warning",
            f"it has {count} partitions, log.partitions says {wanted}",
            "a topic's partitions are fixed for its life: set log.partitions to what it has (kafka-topics.sh "
            f"--bootstrap-server {servers} --describe --topic {name})",
        )


def _suffices(key: str, found: str | None, wanted: str) -> bool:
    """More room and a longer lag do no harm."""
    if found is None:
        return False
    if key in ("min.compaction.lag.ms", _LARGEST):
        return int(found) >= int(wanted)
    return found == wanted
