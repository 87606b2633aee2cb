"""Who is in a consumer group, and which partitions these members have."""

from __future__ import annotations

import time

from confluent_kafka import ConsumerGroupState, KafkaError
from confluent_kafka.admin import ConsumerGroupDescription  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka_admin import code_of
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster
from soma_cli.core.errors import SomaError

_NO_GROUP = {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID}
_SETTLING_S = 3.0
_PAUSE_S = 0.1


def members(cluster: KafkaCluster, group: str) -> int:
    found = _described(cluster, group)
    return 0 if found is None else len(found.members)


def unserved(cluster: KafkaCluster, group: str, topic: str) -> frozenset[int]:
    """The partitions of the topic that no member has, of a group with members. One that is sharing them out has some
    seconds to do that."""
    deadline = time.monotonic() + _SETTLING_S
    while True:
        found = _described(cluster, group)
        if found is None or not found.members:
            return frozenset()
        left = frozenset(range(cluster.known(topic).partitions)) - _served(cluster.client.on_broker(topic), found)
        if not left or time.monotonic() > deadline:
            return left if found.state == ConsumerGroupState.STABLE else frozenset()
        time.sleep(_PAUSE_S)


def _served(name: str, found: ConsumerGroupDescription) -> frozenset[int]:
    given = (item for member in found.members if member.assignment for item in member.assignment.topic_partitions)
    return frozenset(item.partition for item in given if item.topic == name)


def _described(cluster: KafkaCluster, group: str) -> ConsumerGroupDescription | None:
    try:
        found: ConsumerGroupDescription = cluster.answers(
            lambda within_s: cluster.admin.describe_consumer_groups([group], request_timeout=within_s),
            lambda name: f"looking up the group {name}",
        )[group]
    except SomaError as error:
        if code_of(error) in _NO_GROUP:
            return None
        raise
    return found
