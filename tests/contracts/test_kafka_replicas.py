"""Three brokers: what is acknowledged survives the loss of one, and too few of them take nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings
from soma_cli.core.workers.catch_up import check_in_range
from tests.contracts.events import everything, new_record
from tests.services import KafkaCluster


@pytest.fixture(scope="module")
def brokers() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=3) as cluster:
        yield cluster


def settings_of(cluster: KafkaCluster, prefix: str, timeout_s: float) -> LogSettings:
    return LogSettings("kafka", cluster.address, 2, 3, prefix, timeout_s=timeout_s)


def until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {what}"
        time.sleep(0.1)


def values(log: KafkaEventLog) -> list[bytes | None]:
    return sorted((item.value for item in everything(log)), key=lambda value: value or b"")


def statuses(log: KafkaEventLog) -> set[str]:
    return {finding.status for finding in log.health()}


def leaders(servers: str, topic: str) -> dict[int, int]:
    """By partition, the number that the cluster's broker has for a test: from 0."""
    found = AdminClient({"bootstrap.servers": servers}).list_topics(topic, timeout=20)
    return {number: item.leader - 1 for number, item in found.topics[topic].partitions.items()}


def test_a_partition_whose_leader_is_gone_never_looks_empty(brokers: KafkaCluster) -> None:
    """The client gives no error for the offsets of a leader that does not answer, but -1001."""
    log = KafkaEventLog(settings_of(brokers, "g.", timeout_s=20))
    log.provision()
    records = [new_record(number, 1) for number in range(20)]
    log.append(records)
    before = log.bounds(EVENTS_TOPIC)
    victim = leaders(brokers.address, "g." + EVENTS_TOPIC)[0]
    brokers.kill(victim)
    try:
        scanned = [item.value for item in log.scan(EVENTS_TOPIC, 0, 0, before[0].end)]
        assert len(scanned) == before[0].end > 0
        assert log.bounds(EVENTS_TOPIC) == before
        assert values(log) == sorted(record.value or b"" for record in records)
    finally:
        brokers.start(victim)
    log.close()


def test_a_leader_that_stood_still_makes_no_log_look_shorter(brokers: KafkaCluster) -> None:
    """When it goes on, it takes itself for the leader until it hears of the new one, and tells its old end."""
    log, topic = KafkaEventLog(settings_of(brokers, "z.", timeout_s=20)), "z." + EVENTS_TOPIC
    log.provision()
    log.append([new_record(number, 1) for number in range(20)])
    until(lambda: statuses(log) == {"ok"}, "three replicas in sync")
    victim = leaders(brokers.address, topic)[0]
    others = ",".join(where for number, where in enumerate(brokers.address.split(",")) if number != victim)
    stored = log.bounds(EVENTS_TOPIC)[0].end + 1
    brokers.pause(victim)
    try:
        until(lambda: leaders(others, topic)[0] != victim, "another broker leads")
        other = Producer({"bootstrap.servers": others})
        other.produce(topic, b"later", b"k", partition=0)
        assert other.flush(30) == 0
    finally:
        brokers.resume(victim)
    check_in_range(log, "kv", 0, stored)
    assert len(list(log.scan(EVENTS_TOPIC, 0, 0, stored))) == stored
    log.close()


def test_a_broker_is_lost_and_then_too_many(brokers: KafkaCluster) -> None:
    """One test, because to start brokers again takes long: lost, told, short of replicas, whole again."""
    log = KafkaEventLog(settings_of(brokers, "r.", timeout_s=20))
    log.provision()
    until(lambda: statuses(log) == {"ok"}, "three replicas in sync")
    first, second = [new_record(number, 1) for number in range(20)], [new_record(number, 2) for number in range(20)]
    log.append(first)
    brokers.kill(2)
    log.append(second)
    expected = sorted(record.value or b"" for record in [*first, *second])
    assert values(log) == expected
    until(lambda: any("replicas are missing" in finding.message for finding in log.health()), "missing replicas told")
    alter(brokers, "r." + EVENTS_TOPIC, "min.insync.replicas", "3")
    short = KafkaEventLog(settings_of(brokers, "r.", timeout_s=3))
    until(lambda: is_refused(short), "records are refused")
    assert [value for value in values(log) if value != b"refused"] == expected
    short.close()
    log.close()


def is_refused(log: KafkaEventLog) -> bool:
    """Whether an append ends with an error that says why. A topic takes a moment to hear of its new policy."""
    began = time.monotonic()
    error = refusal(log)
    assert time.monotonic() - began < 10
    return error is not None and "fewer than 3 replicas in sync" in error.message and error.details["uncertain"] is True


def refusal(log: KafkaEventLog) -> ServiceUnavailable | None:
    try:
        log.append([NewRecord(EVENTS_TOPIC, b"k", b"refused")])
    except ServiceUnavailable as error:
        return error
    return None


def alter(cluster: KafkaCluster, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": cluster.address})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
