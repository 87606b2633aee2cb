"""The members of a group, for every adapter: they are counted, share the partitions, and take over from the dead."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from soma_cli.core.errors import InputRejected
from soma_cli.core.ports import Consumer, EventLog
from soma_cli.core.record import EVENTS_TOPIC, Record
from tests.contracts.event_logs import Open, by_partition, drain, from_beginning, records_of
from tests.contracts.event_logs import adapter as adapter
from tests.contracts.event_logs import log as log
from tests.contracts.event_logs import open_log as open_log
from tests.contracts.events import everything, new_record
from tests.contracts.processes import output, start

JOIN = """
log = LOGS[ADAPTER](PLACE)
consumer = log.consumer(ARGUMENTS[0], EVENTS_TOPIC, lambda partition: 0)
while True:
    consumer.poll(1, 0.1)
"""


def until(expected: int, log: EventLog, group: str) -> bool:
    """A cluster takes a while to see that a member is gone."""
    deadline = time.monotonic() + 20
    while log.members(group) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return log.members(group) == expected


def test_members_of_other_processes_until_they_are_killed(adapter: str, place: Path, log: EventLog, group: str) -> None:
    assert log.members(group) == 0
    processes = [start(JOIN, adapter, place, group) for _ in range(2)]
    assert until(2, log, group)
    processes[0].kill()
    output(processes[0], killed=True)
    assert until(1, log, group)
    assert until(1, log, group)
    processes[1].kill()
    output(processes[1], killed=True)
    assert until(0, log, group)


def test_members_of_this_process_until_they_close(open_log: Open, log: EventLog, group: str) -> None:
    one, two = (client.consumer(group, EVENTS_TOPIC, lambda partition: 0) for client in (log, open_log()))
    share(one, two, partitions=frozenset(log.bounds(EVENTS_TOPIC)))
    assert until(2, log, group)
    one.close()
    assert until(1, log, group)
    two.close()
    assert until(0, log, group)


def test_members_are_seen_however_often_one_asks(adapter: str, open_log: Open, log: EventLog, group: str) -> None:
    done = threading.Event()

    def ask() -> None:
        client = open_log()
        while not done.is_set():
            client.members(group)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(200 if adapter == "sqlite" else 10):
            consumer = log.consumer(group, EVENTS_TOPIC, lambda partition: 0)
            consumer.poll(1, 0)
            assert until(1, log, group)
            consumer.close()
    finally:
        done.set()
        for thread in asking:
            thread.join()


@pytest.mark.parametrize("other", ["{}.h", "{}.1", "{}g", "[{}]", "{}*"])
def test_members_of_a_group_with_a_similar_name_are_not_counted(log: EventLog, group: str, other: str) -> None:
    other = other.format(group)
    consumer = log.consumer(other, EVENTS_TOPIC, lambda partition: 0)
    consumer.poll(1, 0.1)
    assert until(1, log, other)
    assert log.members(group) == 0
    consumer.close()


def test_a_consumer_whose_start_fails_is_no_member(adapter: str, log: EventLog, group: str) -> None:
    def fail(partition: int) -> int:
        raise InputRejected("no start")

    def join() -> None:
        consumer = log.consumer(group, EVENTS_TOPIC, fail)
        assert adapter != "sqlite", "its partition is free at once, so nobody is there who could be closed"
        try:
            drain(consumer, 1)
        finally:
            consumer.close()

    with pytest.raises(InputRejected) as kept:  # what holds the error holds its frames, too
        join()
    assert until(0, log, group)
    assert kept.value.message == "no start"


def share(*members: Consumer, partitions: frozenset[int]) -> list[list[Record]]:
    """Poll until every partition has exactly one of the members; what each of them read meanwhile."""
    found: list[list[Record]] = [[] for _ in members]
    deadline, calm = time.monotonic() + 30, 0
    while calm < 3 and time.monotonic() < deadline:
        for records, member in zip(found, members, strict=True):
            records += records_of(member.poll(100, 0.1))
        held = [partition for member in members for partition in member.assigned()]
        assert len(held) == len(set(held)), "no partition has two members"
        fair = min(len(partitions) // len(members), 1)
        shared = set(held) == partitions and all(len(member.assigned()) >= fair for member in members)
        calm = calm + 1 if shared else 0
    assert calm == 3
    return found


def test_a_partition_belongs_to_one_member_of_the_group_at_a_time(log: EventLog, group: str) -> None:
    log.append([new_record(number % 9, number) for number in range(90)])
    partitions = frozenset(log.bounds(EVENTS_TOPIC))
    first = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    assert by_partition(drain(first, 90)) == everything(log)
    second = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    again, taken = share(first, second, partitions=partitions)
    assert again == [], "what stays with a member is not read again"
    expected = [item for item in everything(log) if item.partition in second.assigned()]
    taken += drain(second, len(expected) - len(taken))
    assert by_partition(taken) == expected
    alone = log.consumer(f"{group}-other", EVENTS_TOPIC, from_beginning(log))
    assert len(drain(alone, 90)) == 90
    first.close()
    taken += drain(second, 90 - len(taken))
    assert by_partition(taken) == everything(log), "it takes over, from where `start` says"
    second.close()
    alone.close()


def test_a_member_takes_over_from_one_that_was_killed(adapter: str, place: Path, log: EventLog, group: str) -> None:
    log.append([new_record(number % 9, number) for number in range(90)])
    other = start(JOIN, adapter, place, group)
    assert until(1, log, group)
    mine = log.consumer(group, EVENTS_TOPIC, from_beginning(log))
    other.kill()
    output(other, killed=True)
    assert by_partition(drain(mine, 90)) == everything(log)
    mine.close()
