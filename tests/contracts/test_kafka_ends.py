"""An end that is lower than it was: asked for again, told once, and then believed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ConfigurationError, LogBehind, ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings
from soma_cli.core.workers.catch_up import check_in_range
from tests.contracts.events import everything, new_record
from tests.services import kafka_address, new_topic_prefix


@pytest.fixture
def settings() -> LogSettings:
    return LogSettings("kafka", kafka_address(), 1, 1, new_topic_prefix(), timeout_s=10)


@pytest.fixture
def log(settings: LogSettings) -> Iterator[KafkaEventLog]:
    log = KafkaEventLog(settings)
    log.provision()
    log.append([new_record(number, 1) for number in range(5)])
    yield log
    log.close()


def end(log: KafkaEventLog) -> int:
    return log.bounds(EVENTS_TOPIC)[0].end


def open_transaction(settings: LogSettings) -> Producer:
    """With one record in it, which is on the broker."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": f"t-{uuid.uuid4()}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(settings.topic_prefix + EVENTS_TOPIC, b"open", b"k")
    assert producer.flush(10) == 0
    return producer


def late_producer(settings: LogSettings) -> Producer:
    """What it sends goes a moment later. It is connected already: the log is patient for seconds only."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "linger.ms": 200})
    producer.list_topics(settings.topic_prefix + EVENTS_TOPIC, timeout=20)
    return producer


def test_an_end_below_what_was_acknowledged_is_told_once_and_then_believed(log: KafkaEventLog) -> None:
    """A broker can't be made to lose what it acknowledged, so this log is told that there was more."""
    log._cluster.reached(EVENTS_TOPIC, {0: 7}, readable=False)
    with pytest.raises(ServiceUnavailable, match=r"memory.events/0 ends at 5, but had 7"):
        list(log.scan(EVENTS_TOPIC, 0, 0, 7))
    assert end(log) == 5
    assert len(everything(log)) == 5


def test_an_end_that_is_right_at_the_second_look_is_no_error(log: KafkaEventLog, settings: LogSettings) -> None:
    log._cluster.reached(EVENTS_TOPIC, {0: 6}, readable=False)
    other = late_producer(settings)
    other.produce(settings.topic_prefix + EVENTS_TOPIC, b"late", b"k")
    assert end(log) == 6
    assert other.flush(10) == 0


def test_a_record_that_comes_between_two_looks_is_seen(log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not there at the first look, and no more missed at the second: so it is no transaction that hides it."""
    late, ask = [new_record(5, 1)], log._cluster._offsets

    def and_then_it_comes(*asked: Any) -> list[dict[int, int]]:
        found = ask(*asked)
        while late:
            log.append([late.pop()])
        return found

    log._cluster.reached(EVENTS_TOPIC, {0: 6}, readable=False)
    monkeypatch.setattr(log._cluster, "_offsets", and_then_it_comes)
    assert end(log) == 6
    assert not late


def test_a_topic_that_was_made_anew_begins_at_nothing(log: KafkaEventLog, settings: LogSettings) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    admin.delete_topics([settings.topic_prefix + EVENTS_TOPIC])[settings.topic_prefix + EVENTS_TOPIC].result(10)
    other = KafkaEventLog(settings)
    deadline = time.monotonic() + 30
    while EVENTS_TOPIC not in other.topics() or end_or_nothing(other) != 0:
        assert time.monotonic() < deadline
        with suppress(ConfigurationError):  # the topic goes while it is looked at
            other.provision()
    assert end(log) == 0
    other.close()


def test_a_client_that_another_thread_gives_up_while_it_connects_is_used_all_the_same(
    log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = log._cluster.client.reach

    def given_up_meanwhile(*arguments: Any) -> object:
        log._cluster._made = None
        return reach(*arguments)

    monkeypatch.setattr(log._cluster.client, "reach", given_up_meanwhile)
    log._cluster._made = None
    assert end(log) == 5


def end_or_nothing(log: KafkaEventLog) -> int | None:
    try:
        return end(log)
    except ConfigurationError:
        return None


def test_what_an_open_transaction_holds_back_is_no_loss(log: KafkaEventLog, settings: LogSettings) -> None:
    copier = open_transaction(settings)
    [told] = log.append([NewRecord(EVENTS_TOPIC, b"k", b"behind it")])
    assert told.position.offset == 6
    assert end(log) == 5
    copier.abort_transaction(10)
    deadline = time.monotonic() + 30
    while end(log) != 8:
        assert time.monotonic() < deadline, "the marker of the abort is there a moment later"


def test_an_open_transaction_hides_nothing_that_was_read(log: KafkaEventLog, settings: LogSettings) -> None:
    """Readers never get that far back: an end below what was read is a broker's that was cut off, or a loss."""
    copier = open_transaction(settings)
    log._cluster.reached(EVENTS_TOPIC, {0: 6})
    with pytest.raises(ServiceUnavailable, match=r"memory.events/0 ends at 5, but had 6"):
        end(log)
    copier.abort_transaction(10)


def test_a_stored_position_behind_the_end_is_looked_at_again_before_it_stops_anybody(
    log: KafkaEventLog, settings: LogSettings
) -> None:
    other = late_producer(settings)
    other.produce(settings.topic_prefix + EVENTS_TOPIC, b"late", b"k")
    check_in_range(log, "kv", 0, 6)
    with pytest.raises(LogBehind, match="the log ends at offset 6"):
        check_in_range(log, "kv", 0, 7)
    assert other.flush(10) == 0


def test_health_tells_of_an_open_transaction(log: KafkaEventLog, settings: LogSettings) -> None:
    foreign = open_transaction(settings)
    log.append([new_record(1, 2), new_record(1, 3)])
    [told] = [finding for finding in log.health() if "open transaction" in finding.message]
    assert (told.check, told.status) == ("topic memory.events", "error")
    assert "holds back 3 records of memory.events/0" in told.message
    assert f"--topic {settings.topic_prefix}{EVENTS_TOPIC} --partition 0" in told.hint
    foreign.abort_transaction(20)
    assert not any("open transaction" in finding.message for finding in log.health())
