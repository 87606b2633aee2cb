"""Consumers on Kafka: starts that the log does not hold, errors among records, partitions handed over, compaction."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ConfigurationError, LogBehind, ServiceUnavailable, SomaError
from soma_cli.core.record import EVENTS_TOPIC, NewRecord, Position
from soma_cli.core.settings import LogSettings
from tests.contracts.event_logs import by_partition, drain, of_one_key
from tests.contracts.events import everything
from tests.contracts.kafka_logs import Instead, alter, from_beginning, many
from tests.contracts.kafka_logs import log as log
from tests.contracts.kafka_logs import settings as settings
from tests.contracts.processes import until


@pytest.mark.parametrize(("offset", "error"), [(99, LogBehind), (1, ConfigurationError)])
def test_a_start_that_the_log_does_not_hold_is_an_error(
    settings: LogSettings, log: KafkaEventLog, group: str, offset: int, error: type[SomaError]
) -> None:
    position = log.append(of_one_key(10))[5].position
    delete_before(settings, position)
    assert log.bounds(EVENTS_TOPIC)[position.partition].beginning == 5
    assert [item.offset for item in everything(log)] == [5, 6, 7, 8, 9]
    ends = log.bounds(EVENTS_TOPIC)
    consumer = log.consumer(
        group, EVENTS_TOPIC, lambda partition: offset if partition == position.partition else ends[partition].end
    )
    for _ in range(2):
        with pytest.raises(error):
            drain(consumer, 1)
    consumer.close()


@pytest.mark.parametrize("copies", [False, True])
def test_an_error_among_records_loses_none(
    log: KafkaEventLog, group: str, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    """A run that is not handed out is read again, with those of the other partitions."""
    made: Any = log.copier if copies else log.consumer
    consumer = made(group, EVENTS_TOPIC, from_beginning)
    sent = {item.position for item in log.append(many(60))}
    take = consumer._take

    def take_and_fail(limit: int, timeout_s: float) -> list[Message]:
        if taken := take(limit, timeout_s):
            monkeypatch.undo()
            taken.append(Message(topic=consumer.name, partition=0, error=KafkaError(KafkaError.KAFKA_STORAGE_ERROR)))
        return list(taken)

    monkeypatch.setattr(consumer, "_take", take_and_fail)
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 60)
    assert {item.position for item in drain(consumer, 60)} == sent
    consumer.close()


def test_records_that_the_client_drops_are_read_again(log: KafkaEventLog, group: str) -> None:
    """It drops what it has taken where a callback fails."""
    consumer: Any = log.consumer(group, EVENTS_TOPIC, from_beginning)
    log.append(many(60))
    drain(consumer, 60)
    client = consumer.consumer

    def drop(*arguments: object) -> object:
        client.consume(*arguments)
        raise KafkaException(KafkaError(KafkaError._STATE))

    consumer.consumer = Instead(client, consume=drop)
    sent = {item.position for item in log.append(many(60))}
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 1)
    consumer.consumer = client
    assert sent <= {item.position for item in drain(consumer, 120)}
    consumer.close()


def test_it_goes_on_once_the_log_holds_its_offset_again(log: KafkaEventLog, group: str) -> None:
    """As after a leader was chosen that lacked the newest records: the brokers said that there is no such offset."""
    passed: dict[int, int] = {}
    consumer: Any = log.consumer(group, EVENTS_TOPIC, lambda partition: passed.get(partition, 0))
    where = log.append(of_one_key(10))[-1].position
    drain(consumer, 10)
    passed[where.partition] = 10
    consumer.consumer.seek(TopicPartition(consumer.name, where.partition, 1000))
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 1)
    log.append(of_one_key(5))
    assert [item.offset for item in drain(consumer, 5)] == [10, 11, 12, 13, 14]
    consumer.close()


def test_records_that_are_deleted_while_it_reads_are_an_error(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    """The brokers say so, not the look at the bounds before a start; the reader never goes on by itself elsewhere."""
    position = log.append(of_one_key(10))[5].position
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    assert len(drain(consumer, 10)) == 10
    delete_before(settings, position)
    consumer.seek(position.partition, 1)
    with pytest.raises(ConfigurationError) as found:
        drain(consumer, 1)
    assert found.value.code == "offset_out_of_range"
    consumer.close()


def delete_before(settings: LogSettings, position: Position) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    alter(admin, settings.topic_prefix + EVENTS_TOPIC, "cleanup.policy", "delete")  # else the broker refuses
    deleted = TopicPartition(settings.topic_prefix + EVENTS_TOPIC, position.partition, position.offset)
    until(lambda: _deleted(admin, deleted))


def _deleted(admin: AdminClient, before: TopicPartition) -> bool:
    """The broker that holds the log hears of a new policy later than the one that took it."""
    try:
        for future in admin.delete_records([before]).values():
            future.result(10)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.POLICY_VIOLATION:
            raise
        return False
    return True


def test_a_start_that_fails_for_a_while_is_asked_again(log: KafkaEventLog, group: str) -> None:
    log.append(many(30))
    failures = iter(range(3))

    def begin(partition: int) -> int:
        if next(failures, None) is not None:
            raise ServiceUnavailable("the store is away")
        return 0

    consumer = log.consumer(group, EVENTS_TOPIC, begin)
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="the store is away"):
            drain(consumer, 1)
        assert consumer.assigned() == {0, 1, 2}
    assert by_partition(drain(consumer, 30)) == everything(log)
    consumer.close()


def test_partitions_that_go_to_another_can_be_committed_first(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    log.append(many(30))
    told: list[frozenset[int]] = []

    def revoked(partitions: frozenset[int]) -> None:
        told.append(partitions)
        first.commit(dict.fromkeys(partitions, 3))

    first = log.consumer(group, EVENTS_TOPIC, from_beginning, revoked)
    drain(first, 30)
    second = log.consumer(group, EVENTS_TOPIC, from_beginning)

    def handed_over() -> bool:
        for member in (first, second):
            member.poll(10, 0.05)
        return bool(told and second.assigned())

    until(handed_over)
    assert second.assigned() == told[0]
    assert {partition: item.offset for partition, item in log.committed(group, EVENTS_TOPIC).items()} == dict.fromkeys(
        told[0], 3
    )
    first.commit({0: 7, 1: 7, 2: 7})
    committed = {partition for partition, item in log.committed(group, EVENTS_TOPIC).items() if item.offset == 7}
    assert committed == first.assigned(), "what is not ours any more is left out"
    first.close()
    second.close()


def test_what_tools_commit_is_read_too(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    until(lambda: bool(consumer.poll(1, 0.1)) or bool(consumer.assigned()))
    raw: Any = consumer
    for metadata in ("", "not json", "[]", "{}"):
        item = TopicPartition(settings.topic_prefix + EVENTS_TOPIC, 0, 5, metadata)
        raw.consumer.commit(offsets=[item], asynchronous=False)
        assert log.committed(group, EVENTS_TOPIC)[0] == (5, 0, None)
    consumer.close()


def test_gaps_of_compaction(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """Offsets that are gone stop no reader, and the newest record of each key is there."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    name = settings.topic_prefix + EVENTS_TOPIC
    for key, value in {
        "min.compaction.lag.ms": "0",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.01",
    }.items():
        alter(admin, name, key, value)
    filler = bytes(200_000)
    log.append([NewRecord(EVENTS_TOPIC, f"{number % 3}".encode(), filler, partition=0) for number in range(40)])
    until(lambda: len(everything(log)) < 35)
    kept = everything(log)
    end = log.bounds(EVENTS_TOPIC)[0].end
    assert end == 40
    assert kept[-1].offset == 39
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    reached, deadline = 0, time.monotonic() + 20
    while reached < end and time.monotonic() < deadline:
        for run in consumer.poll(5, 0.2):
            assert run.start == reached
            reached = run.end
    assert reached == end
    assert list(log.scan(EVENTS_TOPIC, 0, 0, kept[0].offset)) == []
    consumer.close()
