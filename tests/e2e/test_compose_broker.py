"""A real broker with the settings of docker-compose.dev.yml: transactions work, no topic makes itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from tests.composed import broker_settings
from tests.e2e.conftest import wait_until
from tests.services.kafka import KafkaCluster


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with KafkaCluster(brokers=1, settings=broker_settings()) as kafka:
        yield kafka.address


def test_one_broker_is_enough_for_transactions_and_groups(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("committed", 1)])["committed"].result(20)
    producer = Producer({"bootstrap.servers": address, "transactional.id": "compose"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce("committed", b"value")
    consumer = Consumer({"bootstrap.servers": address, "group.id": "compose", "auto.offset.reset": "earliest"})
    position = [TopicPartition("committed", 0, 0)]
    producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 20)
    producer.commit_transaction(20)
    consumer.subscribe(["committed"])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"value"


def test_a_topic_that_there_is_not_is_an_error(address: str) -> None:
    producer = Producer({"bootstrap.servers": address, "message.timeout.ms": 5000})
    failed: list[KafkaError | None] = []
    producer.produce("typo", b"value", on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(20) == 0
    assert failed[0] is not None
    assert "typo" not in AdminClient({"bootstrap.servers": address}).list_topics(timeout=20).topics


def test_a_topic_that_says_nothing_of_retention_keeps_everything(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("journal", 1)])["journal"].result(20)
    wait_until(lambda: "journal" in admin.list_topics(timeout=20).topics, "a topic that the broker has heard of")
    asked = ConfigResource(ResourceType.TOPIC, "journal")
    settings = admin.describe_configs([asked])[asked].result(20)
    assert settings["retention.ms"].value == "-1"
