"""The promises of the port Consumer, for every adapter: where it reads, in which order, and what a group commits."""

from __future__ import annotations

import threading
import time

import pytest

from soma_cli.core.errors import ConfigurationError
from soma_cli.core.ports import EventLog
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, Record
from tests.contracts.event_logs import Open, by_partition, drain, from_beginning, of_one_key, records_of
from tests.contracts.event_logs import adapter as adapter
from tests.contracts.event_logs import log as log
from tests.contracts.event_logs import open_log as open_log
from tests.contracts.events import everything, new_record


def test_poll_gives_records_in_order_up_to_the_limit(log: EventLog, group: str) -> None:
    log.append(of_one_key(25))
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    batches = [records_of(consumer.poll(10, 0.1)) for _ in range(4)]
    found = [item for records in batches for item in records]
    found += drain(consumer, 25 - len(found))
    assert all(len(records) <= 10 for records in batches)
    assert found == everything(log)
    consumer.close()


def test_poll_returns_at_once_with_what_is_there(log: EventLog, group: str) -> None:
    log.append(of_one_key(3))
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    drain(consumer, 3)
    log.append(of_one_key(2))
    began = time.monotonic()
    found = records_of(consumer.poll(1000, 20.0))
    assert found
    assert time.monotonic() - began < 10
    assert len(found) + len(drain(consumer, 2 - len(found))) == 2  # from brokers they may come one by one
    consumer.close()


def test_poll_waits_and_returns_nothing(log: EventLog, group: str) -> None:
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    began = time.monotonic()
    assert consumer.poll(10, 0.3) == []
    assert 0.25 < time.monotonic() - began < 5
    consumer.close()


def test_poll_wakes_for_a_new_record(open_log: Open, log: EventLog, group: str) -> None:
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    timer = threading.Timer(0.2, lambda: open_log().append(of_one_key(1)))
    timer.start()
    began = time.monotonic()
    assert len(drain(consumer, 1)) == 1
    assert time.monotonic() - began < 10
    timer.join()
    consumer.close()


def test_runs_join_up(log: EventLog, group: str) -> None:
    began = {partition: bounds.beginning for partition, bounds in log.bounds(EVENTS_TOPIC).items()}
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    reached, found, deadline = dict(began), list[Record](), time.monotonic() + 30
    for part in range(4):
        log.append([new_record(number % 9, part * 50 + number) for number in range(50)])
        ends = {partition: bounds.end for partition, bounds in log.bounds(EVENTS_TOPIC).items()}
        while reached != ends and time.monotonic() < deadline:
            for run in consumer.poll(7, 0.2):
                assert run.start == reached[run.partition]
                offsets = [item.offset for item in run.records]
                assert offsets == sorted(offsets)
                assert all(run.start <= offset < run.end for offset in offsets)
                assert {item.partition for item in run.records} <= {run.partition}
                reached[run.partition] = run.end
                found += run.records
        assert reached == ends
    assert by_partition(found) == everything(log)
    consumer.close()


def test_reading_begins_where_start_says(log: EventLog, group: str) -> None:
    position = log.append(of_one_key(10))[6].position
    asked: list[int] = []

    def begin(partition: int) -> int:
        asked.append(partition)
        return position.offset if partition == position.partition else log.bounds(EVENTS_TOPIC)[partition].end

    consumer = log.consumer(group, EVENTS_TOPIC, begin)
    assert [item.offset for item in drain(consumer, 4)] == list(range(position.offset, position.offset + 4))
    assert set(asked) == set(log.bounds(EVENTS_TOPIC)) == consumer.assigned()
    consumer.close()


def test_seek(log: EventLog, group: str) -> None:
    position = log.append(of_one_key(10))[0].position
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    drain(consumer, 10)
    consumer.seek(position.partition, position.offset + 7)
    runs = consumer.poll(2, 20)
    assert [(run.partition, run.start, run.end) for run in runs] == [
        (position.partition, position.offset + 7, position.offset + 9)
    ]
    assert [item.offset for item in drain(consumer, 1)] == [position.offset + 9]
    consumer.close()


def test_keep_takes_no_records(log: EventLog, group: str) -> None:
    """Neither does it lose any, nor their order; it may come from another thread."""
    log.append([new_record(number % 9, number) for number in range(300)])
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    found, deadline, later = list[Record](), time.monotonic() + 30, 50
    while len(found) < 350 and time.monotonic() < deadline:
        found += records_of(consumer.poll(10, 0.2))
        for _ in range(3):
            keeper = threading.Thread(target=consumer.keep)
            keeper.start()
            keeper.join()
        if len(found) == 300:
            log.append([new_record(number % 9, 300 + number) for number in range(later)])
            later = 0
    assert by_partition(found) == everything(log)
    consumer.close()


def test_nothing_is_committed_but_by_commit(open_log: Open, log: EventLog, group: str) -> None:
    partition = log.append(of_one_key(10))[0].position.partition
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    drain(consumer, 10)
    consumer.close()
    assert log.committed(group, EVENTS_TOPIC) == {}
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    drain(consumer, 10)
    consumer.commit({partition: 4}, 12.5)
    assert open_log().committed(group, EVENTS_TOPIC)[partition][::2] == (4, 12.5)
    consumer.commit({partition: 6})
    found = open_log().committed(group, EVENTS_TOPIC)[partition]
    assert (found.offset, found.rate_per_s) == (6, None)
    assert abs(found.committed_at / 1e6 - time.time()) < 60
    consumer.close()


def test_groups_read_and_commit_on_their_own(log: EventLog, group: str) -> None:
    partition = log.append(of_one_key(10))[0].position.partition
    one, two = (log.consumer(f"{group}-{name}", EVENTS_TOPIC, from_beginning(log)) for name in ("one", "two"))
    assert drain(one, 10) == drain(two, 10) == everything(log)
    one.commit({partition: 3})
    assert log.committed(f"{group}-two", EVENTS_TOPIC) == {}
    assert log.committed(f"{group}-one", DEAD_LETTER_TOPIC) == {}
    one.close()
    two.close()


def test_a_copier_needs_transactions(adapter: str, log: EventLog, group: str) -> None:
    if adapter == "sqlite":
        with pytest.raises(ConfigurationError):
            log.copier(group, EVENTS_TOPIC, from_beginning(log))
    else:
        log.copier(group, EVENTS_TOPIC, from_beginning(log)).close()
