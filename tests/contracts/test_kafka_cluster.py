"""The Kafka of the tests: one broker, three brokers, access control, forced compaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.services import KafkaCluster, kafka_address, new_topic_prefix

PATIENCE_S = 120.0
QUIET: dict[str, Any] = {"log_level": 0}


def create(address: str, topic: str, replication: int = 1, config: dict[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": address, **QUIET})
    admin.create_topics([NewTopic(topic, 1, replication, config=config or {})])[topic].result(30)


def produce(address: str, topic: str, *records: tuple[str, str], **settings: Any) -> None:
    """Raises KafkaException when a record was not acknowledged."""
    failed: list[KafkaError] = []
    producer = Producer(
        {"bootstrap.servers": address, "acks": "all", "delivery.timeout.ms": 30_000, **QUIET, **settings}
    )
    for key, text in records:
        producer.produce(topic, text, key, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(40) == 0
    if failed:
        raise KafkaException(failed[0])


def read(address: str, topic: str) -> list[Message]:
    """All records of partition 0."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, **QUIET})
    try:
        partition = TopicPartition(topic, 0, 0)
        end = consumer.get_watermark_offsets(partition, timeout=30)[1]
        consumer.assign([partition])
        found: list[Message] = []
        while consumer.position([partition])[0].offset < end:
            message = consumer.poll(PATIENCE_S)
            assert message is not None
            assert message.error() is None
            found.append(message)
        return found
    finally:
        consumer.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.1)


def test_the_shared_broker_takes_records_and_creates_no_topic_by_itself() -> None:
    topic = f"{new_topic_prefix()}events"
    create(kafka_address(), topic)
    produce(kafka_address(), topic, ("a", "1"))
    assert [message.value() for message in read(kafka_address(), topic)] == [b"1"]
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC"):
        produce(kafka_address(), f"{topic}-missing", ("a", "1"), **{"topic.metadata.propagation.max.ms": 0})


def test_a_broker_keeps_its_records_when_it_is_killed() -> None:
    with KafkaCluster() as kafka:
        create(kafka.address, "kept")
        produce(kafka.address, "kept", ("a", "1"))
        kafka.kill()
        kafka.start()
        produce(kafka.address, "kept", ("a", "2"))
        kafka.stop()
        kafka.start()
        assert [message.value() for message in read(kafka.address, "kept")] == [b"1", b"2"]


def test_consumers_may_have_sessions_of_a_second() -> None:
    topic = f"{new_topic_prefix()}events"
    create(kafka_address(), topic)
    produce(kafka_address(), topic, ("a", "1"))
    group = {
        "group.id": topic,
        "session.timeout.ms": 1000,
        "heartbeat.interval.ms": 300,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer({"bootstrap.servers": kafka_address(), **group, **QUIET})
    consumer.subscribe([topic])
    message = consumer.poll(PATIENCE_S)
    consumer.close()
    assert message is not None
    assert message.error() is None


def test_a_compaction_can_be_forced() -> None:
    topic = f"{new_topic_prefix()}compacted"
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    create(kafka_address(), topic, config=config)
    produce(kafka_address(), topic, ("a", "1"), ("a", "2"), ("b", "1"))
    time.sleep(0.2)  # the segment rolls with the next record, once it is older than segment.ms
    produce(kafka_address(), topic, ("c", "1"))
    expected = [(b"a", b"2"), (b"b", b"1"), (b"c", b"1")]
    wait_until(lambda: [(m.key(), m.value()) for m in read(kafka_address(), topic)] == expected, "the cleaner")


def test_three_brokers_go_on_without_one_of_them() -> None:
    with KafkaCluster(brokers=3) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.address, **QUIET})

        def in_sync() -> int:
            partitions = admin.list_topics("events", timeout=30).topics["events"].partitions
            return len(partitions[0].isrs) if partitions else 0

        create(kafka.address, "events", replication=3)
        wait_until(lambda: in_sync() == 3, "three replicas in sync")
        leader = admin.list_topics("events", timeout=30).topics["events"].partitions[0].leader
        kafka.kill(leader - 1)
        produce(kafka.address, "events", ("a", "1"))
        kafka.start(leader - 1)
        wait_until(lambda: in_sync() == 3, "three replicas in sync again")
        assert [message.value() for message in read(kafka.address, "events")] == [b"1"]


def test_users_need_their_password_and_rights() -> None:
    with KafkaCluster(users={"writer": "right", "guest": "welcome"}) as kafka:
        assert kafka.access is not None
        create(kafka.open_address, "events")
        allow(kafka.open_address, "writer", "events")
        writer = kafka.access.client("writer")
        wait_until(lambda: is_taken(kafka.address, "events", **writer), "the broker to hear of the right")
        with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
            produce(kafka.address, "events", ("a", "1"), **kafka.access.client("guest"))
        errors: list[KafkaError] = []
        wrong = {"bootstrap.servers": kafka.address, "error_cb": errors.append, **QUIET}
        producer = Producer({**wrong, **kafka.access.client("writer", password="wrong")})
        wait_until(lambda: producer.poll(0.1) >= 0 and bool(errors), "the broker's refusal")
        assert errors[0].code() == KafkaError._AUTHENTICATION


def is_taken(address: str, topic: str, **client: Any) -> bool:
    with suppress(KafkaException):
        produce(address, topic, ("a", "1"), **client)
        return True
    return False


def allow(address: str, user: str, topic: str) -> None:
    """Give the user the right to write to the topic."""
    right = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    admin = AdminClient({"bootstrap.servers": address, **QUIET})
    for made in admin.create_acls([right]).values():
        made.result(30)
