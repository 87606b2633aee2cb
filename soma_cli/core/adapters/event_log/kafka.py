"""The cluster's log: topics of a Kafka cluster, every record acknowledged by all replicas in sync.

Append times are the broker's (LogAppendTime), in whole milliseconds; those of one partition never fall as long as its
brokers' clocks are not set back. A process that forks opens its log anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import murmur2

from soma_cli.core.adapters.event_log import kafka_groups, kafka_topics
from soma_cli.core.adapters.event_log.kafka_client import KafkaClient
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster
from soma_cli.core.adapters.event_log.kafka_consumer import KafkaConsumer
from soma_cli.core.adapters.event_log.kafka_copier import KafkaCopier
from soma_cli.core.adapters.event_log.kafka_health import health
from soma_cli.core.adapters.event_log.kafka_producer import KafkaAppender
from soma_cli.core.adapters.event_log.kafka_reader import KafkaReaders
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.instants import MICROSECONDS, now_us
from soma_cli.core.ports import (
    Appended,
    Assigned,
    Bounds,
    Committed,
    Consumer,
    Copier,
    HeldBack,
    Provisioned,
    Revoked,
    nothing_to_do,
)
from soma_cli.core.record import NewRecord, Record
from soma_cli.core.results import Finding
from soma_cli.core.settings import LogSettings

_CLOCKS_US = 3600 * MICROSECONDS
"""So much this machine's clock and a broker's may differ before something compacted is looked for in the topic."""


class KafkaEventLog:
    """`EventLog` on the brokers at `bootstrap_servers`. Connects when it is first used. Safe with several threads;
    each consumer and copier belongs to one thread at a time."""

    follows_itself = False

    def __init__(self, settings: LogSettings, *, one_shot: bool = False) -> None:
        client = KafkaClient(settings)
        self._cluster = KafkaCluster(client)
        self._appender = KafkaAppender(self._cluster, one_shot=one_shot)
        self._readers = KafkaReaders(self._cluster)
        self._settings = settings

    def provision(self) -> Provisioned:
        return kafka_topics.provision(self._cluster)

    def topics(self) -> list[str]:
        return self._cluster.existing()

    def topic_id(self, topic: str, *, anew: bool = False) -> str:
        """Remembered until it is asked for anew, or a consumer is assigned partitions of the topic. One that is away
        keeps its id until there is another: a broker that just started may not know of it for a moment."""
        remembered = self._cluster.known(topic)
        try:
            return self._cluster.known(topic, anew=anew).topic_id
        except ConfigurationError as error:
            if error.code != "topic_missing":
                raise
            return remembered.topic_id

    def append(self, records: Sequence[NewRecord]) -> list[Appended]:
        return self._appender.append(records)

    def partitions_of(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """What the partitioner `murmur2_random` chooses, which Java's clients use, too."""
        count = self._cluster.known(topic).partitions
        return [murmur2(key, count) for key in keys]

    def bounds(self, topic: str, reaching: Mapping[int, int] | None = None) -> dict[int, Bounds]:
        return self._cluster.bounds(topic, reaching)

    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        return self._readers.scan(topic, partition, start, end, key)

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        return self._cluster.offset_at(topic, partition, instant)

    def compacted_before(self, topic: str) -> int | None:
        """By the broker's policy; by the settings where this user may not read that. With a margin, as the brokers
        compact by their own clocks."""
        config = self._cluster.config(topic) or kafka_topics.policies(self._settings)[topic].config
        if "compact" not in config.get("cleanup.policy", ""):
            return None
        lag = int(config.get("min.compaction.lag.ms", "0")) * 1000
        return now_us() - lag + min(_CLOCKS_US, lag // 2)

    def consumer(self, group: str, topic: str, start: Assigned, revoked: Revoked = nothing_to_do) -> Consumer:
        return KafkaConsumer(self._cluster, group, topic, start, revoked)

    def copier(self, group: str, topic: str, start: Assigned) -> Copier:
        return KafkaCopier(self._cluster, group, topic, start)

    def held_back(self, topic: str) -> dict[int, HeldBack]:
        return {
            partition: HeldBack(end - first, self._readers.appended_at(topic, partition, first))
            for partition, (first, end) in self._cluster.held_back(topic).items()
        }

    def members(self, group: str) -> int:
        return kafka_groups.members(self._cluster, group)

    def unserved(self, group: str, topic: str) -> frozenset[int]:
        return kafka_groups.unserved(self._cluster, group, topic)

    def committed(self, group: str, topic: str) -> dict[int, Committed]:
        return self._cluster.committed(group, topic)

    def stats(self) -> dict[str, Any]:
        found = self._cluster.brokers()
        return {
            "where": self._cluster.client.servers,
            "brokers": len(found.nodes),
            "cluster_id": found.cluster_id,
            "topic_prefix": self._settings.topic_prefix,
        }

    def health(self, *, deep: bool = False) -> list[Finding]:
        """`deep` makes no difference: the brokers check what they hold themselves."""
        return health(self._cluster)

    def close(self) -> None:
        self._appender.close()
        self._readers.close()
        self._cluster.close()
