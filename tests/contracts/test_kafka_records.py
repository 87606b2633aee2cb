"""Records on Kafka: how large they may be, where they lie, their receipts, and several threads and scans at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import Producer

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ValueRefused
from soma_cli.core.record import AUDIT_TOPIC, DEAD_LETTER_TOPIC, EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.settings import LogSettings
from tests.contracts.event_logs import by_partition, of_one_key
from tests.contracts.events import everything, new_record
from tests.contracts.kafka_logs import log as log
from tests.contracts.kafka_logs import many
from tests.contracts.kafka_logs import settings as settings


def test_a_record_that_is_too_large(log: KafkaEventLog) -> None:
    large = NewRecord(EVENTS_TOPIC, b"k", bytes(9 << 20))
    with pytest.raises(ValueRefused) as found:
        log.append([*of_one_key(3), large])
    assert found.value.code == "too_large"
    assert everything(log) == [], "nothing of the list was appended"


def test_large_records_are_taken(log: KafkaEventLog) -> None:
    """The copy of an event is larger than the event."""
    for topic in (EVENTS_TOPIC, AUDIT_TOPIC, DEAD_LETTER_TOPIC):
        log.append([NewRecord(topic, b"k", bytes(2 << 20), (("why", b"w" * 1000),))])
        assert [len(item.value or b"") for item in everything(log, topic)] == [2 << 20]


def test_a_key_lies_where_javas_clients_put_it(settings: LogSettings, log: KafkaEventLog) -> None:
    """So does librdkafka's partitioner of that name, with which other programs may write."""
    keys = [f"{number:036d}".encode() for number in range(40)] + [b"k" * length for length in range(40)]
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "partitioner": "murmur2_random"})
    placed: dict[bytes, int] = {}
    for key in keys:
        producer.produce(
            settings.topic_prefix + EVENTS_TOPIC,
            b"v",
            key,
            on_delivery=lambda _, m: placed.update({m.key() or b"": m.partition() or 0}),
        )
    assert producer.flush(20) == 0
    assert [placed[key] for key in keys] == log.partitions_of(EVENTS_TOPIC, keys)
    assert len({*placed.values()}) == 3


def test_receipts_tell_the_records_of_a_list_apart(log: KafkaEventLog) -> None:
    """Of several topics and partitions, with and without keys, while other threads send with the same producer."""
    records = [
        NewRecord((EVENTS_TOPIC, AUDIT_TOPIC)[number % 2], b"%d" % (number % 7), b"%d" % number)
        for number in range(600)
    ]
    records += [NewRecord(AUDIT_TOPIC, None, b"no key %d" % number) for number in range(6)]
    noise = threading.Thread(target=lambda: [log.append(many(150)) for _ in range(5)])
    noise.start()
    receipts = [receipt for _ in range(3) for receipt in log.append(records)]
    noise.join()
    lying = {item.position: item for topic in (EVENTS_TOPIC, AUDIT_TOPIC) for item in everything(log, topic)}
    assert len({receipt.position for receipt in receipts}) == 3 * len(records)
    for record, receipt in zip(records * 3, receipts, strict=True):
        found = lying[receipt.position]
        assert (found.topic, found.key, found.value, found.appended_at) == (*record[:3], receipt.appended_at)


def test_scans_that_interleave_or_are_abandoned(log: KafkaEventLog) -> None:
    log.append(many(3000))
    expected = everything(log)
    bounds = log.bounds(EVENTS_TOPIC)
    scans = [log.scan(EVENTS_TOPIC, partition, 0, bounds[partition].end) for partition in bounds]
    abandoned = log.scan(EVENTS_TOPIC, 0, 0, bounds[0].end)
    next(abandoned)
    del abandoned
    found: list[Record] = []
    while scans:
        for scan in list(scans):
            item = next(scan, None)
            if item is None:
                scans.remove(scan)
            else:
                found.append(item)
    assert by_partition(found) == expected


def test_threads_append_at_once(log: KafkaEventLog) -> None:
    receipts: list[Any] = []

    def work(number: int) -> None:
        for event in range(50):
            receipts.extend(log.append([new_record(number, event)]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {receipt.position for receipt in receipts} == {item.position for item in everything(log)}
    assert len(receipts) == 200
