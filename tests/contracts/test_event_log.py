"""The promises of the ports EventLog and Consumer, for every adapter."""

from __future__ import annotations

import itertools
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soma_cli.core.errors import ConfigurationError, InputRejected, SomaError
from soma_cli.core.ports import Consumer, EventLog, Run
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, NewRecord, Record
from tests.contracts.adapters import LOGS
from tests.contracts.events import event_value, everything, new_record, uid
from tests.contracts.processes import output, start
from tests.services import kafka_address

Open = Callable[[], EventLog]
"""Open the same log again, as another client would."""


@pytest.fixture(params=sorted(LOGS))
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param == "kafka":
        kafka_address()  # here, so that the processes that a test starts find the same broker
    return str(request.param)


@pytest.fixture
def open_log(adapter: str, place: Path) -> Iterator[Open]:
    opened: list[EventLog] = []

    def open_again() -> EventLog:
        opened.append(LOGS[adapter](place))
        return opened[-1]

    yield open_again
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: Open) -> EventLog:
    return open_log()


@pytest.fixture
def group() -> str:
    """A group that nobody else is in: brokers are shared by all tests."""
    return f"g-{uuid.uuid4().hex[:12]}"


def of_one_key(count: int, key: int = 1) -> list[NewRecord]:
    return [new_record(key, number) for number in range(count)]


def from_beginning(log: EventLog, topic: str = EVENTS_TOPIC) -> Callable[[int], int]:
    return lambda partition: log.bounds(topic)[partition].beginning


def records_of(runs: Iterable[Run]) -> list[Record]:
    return [item for run in runs for item in run.records]


def drain(consumer: Consumer, count: int, limit: int = 100) -> list[Record]:
    """Poll until `count` records are there; a member that has just joined may wait for its partitions."""
    found: list[Record] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += records_of(consumer.poll(limit, 0.2))
    return found


def by_partition(records: Iterable[Record]) -> list[Record]:
    """Within a partition, the order is kept."""
    return sorted(records, key=lambda item: item.partition)


# --- append ------------------------------------------------------------------------------------------------------

APPEND_AND_DIE = """
log = LOGS[ADAPTER](PLACE)
for appended in log.append([new_record(number % 3, number) for number in range(7)]):
    print(appended.position, appended.appended_at, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_append_is_durable(adapter: str, place: Path, open_log: Open) -> None:
    printed = output(start(APPEND_AND_DIE, adapter, place), killed=True)
    found = {f"{item.position} {item.appended_at}": item.value for item in everything(open_log())}
    expected = [event_value(number % 3, number) for number in range(7)]
    assert [found[line] for line in printed.splitlines()] == expected


APPEND_FOR_EVER = """
log, number = LOGS[ADAPTER](PLACE), 0
while True:
    log.append([new_record(1, number + more) for more in range(20)])
    number += 20
    print(number, flush=True)
"""


def test_append_is_all_or_error_when_killed(adapter: str, place: Path, open_log: Open) -> None:
    process = start(APPEND_FOR_EVER, adapter, place)
    assert process.stdout is not None
    for _ in range(10):
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    later = output(process, killed=True).split()
    values = [item.value for item in everything(open_log())]
    assert len(values) >= int(later[-1] if later else acknowledged)
    assert values == [event_value(1, number) for number in range(len(values))]


def test_append_is_all_or_error_when_refused(log: EventLog) -> None:
    records = of_one_key(4)
    records[2] = records[2]._replace(topic="no.such.topic")
    with pytest.raises(SomaError):
        log.append(records)
    prefix = [item.value for item in everything(log)]
    assert prefix in ([], [records[0].value], [records[0].value, records[1].value])
    log.append(records[3:])
    assert [item.value for item in everything(log)] == [*prefix, records[3].value]


def test_append_of_nothing(log: EventLog) -> None:
    assert log.append([]) == []
    assert everything(log) == []


def test_offsets_grow(open_log: Open, log: EventLog) -> None:
    def work(number: int) -> None:
        client = open_log()
        for event in range(20):
            client.append([new_record(number, event)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    records = everything(log)
    assert len(records) == 80
    for earlier, later in itertools.pairwise(records):
        if earlier.partition == later.partition:
            assert earlier.offset < later.offset
            assert earlier.appended_at <= later.appended_at


def test_append_says_where_and_when(log: EventLog) -> None:
    appended = log.append([new_record(number, number) for number in range(5)])
    lies = {item.position: item for item in everything(log)}
    for number, receipt in enumerate(appended):
        assert lies[receipt.position].value == event_value(number, number)
        assert lies[receipt.position].appended_at == receipt.appended_at
    assert all(abs(item.appended_at / 1e6 - time.time()) < 60 for item in lies.values())


NASTY = [
    NewRecord(EVENTS_TOPIC, b"key", b"value"),
    NewRecord(EVENTS_TOPIC, b"\x00\xff\xfe", b"\x00\x80\x04\x95\xff"),
    NewRecord(EVENTS_TOPIC, b"", b""),
    NewRecord(EVENTS_TOPIC, b"null", None),
    NewRecord(EVENTS_TOPIC, b"big", bytes(range(256)) * 2000),
    NewRecord(EVENTS_TOPIC, b"h", b"x", (("a", b"1"), ("b", b"\x00\xff"), ("a", b""), ("a", None), ("ü ", b"3"))),
]


def test_bytes_are_kept(open_log: Open, log: EventLog) -> None:
    appended = log.append(NASTY)
    found = {item.position: item for item in everything(open_log())}
    for given, receipt in zip(NASTY, appended, strict=True):
        kept = found[receipt.position]
        assert (kept.topic, kept.key, kept.value, kept.headers) == given[:4]


def test_one_key_one_partition(open_log: Open, log: EventLog) -> None:
    clients = [open_log() for _ in range(7)]
    for number in range(60):
        clients[number % 7].append([new_record(number % 6, number)])
    for key in range(6):
        records = [item for item in everything(log) if item.key == uid(key).encode()]
        assert len({item.partition for item in records}) == 1
        assert [item.value for item in records] == [event_value(key, number) for number in range(key, 60, 6)]


def test_the_topic_id_is_the_incarnation(adapter: str, tmp_path: Path, open_log: Open, log: EventLog) -> None:
    topic_id = log.topic_id(EVENTS_TOPIC)
    log.append(of_one_key(1))
    assert open_log().topic_id(EVENTS_TOPIC) == topic_id
    assert log.topic_id(DEAD_LETTER_TOPIC) != topic_id
    other = LOGS[adapter](tmp_path / "another")
    assert other.topic_id(EVENTS_TOPIC) != topic_id
    other.close()


def test_topics(log: EventLog) -> None:
    assert {EVENTS_TOPIC, DEAD_LETTER_TOPIC} <= set(log.topics())
    for call in (log.topic_id, log.bounds):
        with pytest.raises(SomaError, match=r"no\.such\.topic"):
            call("no.such.topic")


def test_provision_changes_nothing_that_is_there(open_log: Open, log: EventLog) -> None:
    log.append(of_one_key(3))
    before = {topic: log.topic_id(topic) for topic in log.topics()}
    provisioned = open_log().provision()
    assert (provisioned.created, provisioned.differing) == ([], [])
    assert sorted(provisioned.existing) == sorted(f"topic {topic}" for topic in before)
    assert {topic: open_log().topic_id(topic) for topic in open_log().topics()} == before
    assert len(everything(log)) == 3


def test_a_whole_log_is_healthy(log: EventLog) -> None:
    for deep in (False, True):
        findings = log.health(deep=deep)
        assert findings
        assert {finding.status for finding in findings} == {"ok"}
    assert log.stats()["where"]


def test_partitions_of_says_where_records_of_a_key_lie(log: EventLog) -> None:
    records = [new_record(number, number) for number in range(50)]
    records += [NewRecord(EVENTS_TOPIC, b"k" * length, b"x") for length in range(40)]
    placed = [receipt.position.partition for receipt in log.append(records)]
    assert log.partitions_of(EVENTS_TOPIC, [record.key or b"" for record in records]) == placed


def test_a_partition_can_be_chosen(log: EventLog) -> None:
    for partition in log.bounds(EVENTS_TOPIC):
        record = new_record(1, partition)._replace(partition=partition)
        assert log.append([record])[0].position.partition == partition


def test_compacted_before(log: EventLog) -> None:
    found = log.compacted_before(EVENTS_TOPIC)
    assert found is None or found < (time.time() - 6 * 86400) * 1e6


def test_topics_are_apart(log: EventLog) -> None:
    log.append(
        [NewRecord(DEAD_LETTER_TOPIC, b"k", b"dead"), new_record(1, 1), NewRecord(DEAD_LETTER_TOPIC, b"k", b"x")]
    )
    assert [item.value for item in everything(log)] == [event_value(1, 1)]
    assert [item.value for item in everything(log, DEAD_LETTER_TOPIC)] == [b"dead", b"x"]


APPEND_SOME = """
log = LOGS[ADAPTER](PLACE)
print(log.topic_id(EVENTS_TOPIC))
for number in range(25):
    for appended in log.append([new_record(int(ARGUMENTS[0]), number * 4 + more) for more in range(4)]):
        print(appended.position)
log.close()
"""


def test_processes_that_start_and_append_at_once(adapter: str, place: Path, open_log: Open) -> None:
    processes = [start(APPEND_SOME, adapter, place, number) for number in range(4)]
    outputs = [output(process).split() for process in processes]
    log = open_log()
    assert {lines[0] for lines in outputs} == {log.topic_id(EVENTS_TOPIC)}
    receipts = [line for lines in outputs for line in lines[1:]]
    records = everything(log)
    assert len(set(receipts)) == len(receipts) == 400
    assert {str(item.position) for item in records} == set(receipts)
    for bounds in log.bounds(EVENTS_TOPIC).items():
        partition, (beginning, end) = bounds
        assert [item.offset for item in records if item.partition == partition] == list(range(beginning, end))
    for number in range(4):
        mine = [item.value for item in records if item.key == uid(number).encode()]
        assert mine == [event_value(number, event) for event in range(100)]


# --- reading -----------------------------------------------------------------------------------------------------


def test_bounds(log: EventLog) -> None:
    empty = log.bounds(EVENTS_TOPIC)
    assert empty
    assert all(bounds.beginning == bounds.end for bounds in empty.values())
    appended = log.append(of_one_key(3))
    position = appended[-1].position
    assert log.bounds(EVENTS_TOPIC)[position.partition].end == position.offset + 1


def test_scan_gives_the_range_in_offset_order(log: EventLog) -> None:
    positions = [receipt.position for receipt in log.append(of_one_key(2500))]
    partition, first = positions[0].partition, positions[0].offset

    def offsets(start: int, end: int) -> list[int]:
        return [item.offset for item in log.scan(EVENTS_TOPIC, partition, start, end)]

    assert offsets(first, first + 2500) == [position.offset for position in positions]
    assert offsets(first + 999, first + 2001) == list(range(first + 999, first + 2001))
    assert offsets(first + 3, first + 4) == [first + 3]
    assert offsets(first + 3, first + 3) == []
    assert offsets(first + 5, first + 3) == []
    assert offsets(first + 2498, first + 9999) == [first + 2498, first + 2499]


def test_scan_never_leaves_its_topic(log: EventLog) -> None:
    log.append([NewRecord(DEAD_LETTER_TOPIC, b"k", b"dead"), new_record(1, 1)])
    for topic, expected in ((EVENTS_TOPIC, event_value(1, 1)), (DEAD_LETTER_TOPIC, b"dead")):
        for partition, bounds in log.bounds(topic).items():
            if bounds.end > bounds.beginning:
                assert [item.value for item in log.scan(topic, partition, -5, 2**62)] == [expected]


def test_scan_with_a_key(log: EventLog) -> None:
    appended = log.append([new_record(number % 7, number) for number in range(2100)])
    partition = appended[3].position.partition
    found = list(log.scan(EVENTS_TOPIC, partition, 0, log.bounds(EVENTS_TOPIC)[partition].end, uid(3).encode()))
    assert [item.value for item in found] == [event_value(3, number) for number in range(3, 2100, 7)]
    assert list(log.scan(EVENTS_TOPIC, partition, 0, 5, uid(99).encode())) == []


def test_scan_while_others_append(open_log: Open, log: EventLog) -> None:
    position = log.append(of_one_key(1500))[-1].position
    records = log.scan(EVENTS_TOPIC, position.partition, position.offset - 1499, position.offset + 1)
    first = next(records)
    open_log().append(of_one_key(10))
    assert [first.offset, *(item.offset for item in records)] == list(
        range(position.offset - 1499, position.offset + 1)
    )


def test_offset_at(log: EventLog) -> None:
    for number in range(12):
        log.append([new_record(1, number)])
        time.sleep(0.002)
    records = everything(log)
    partition, times = records[0].partition, [item.appended_at for item in records]
    for instant in {0, *times, *(at + 1 for at in times), *(at - 1 for at in times), times[-1] + 10**9}:
        expected = next((item.offset for item in records if item.appended_at >= instant), records[-1].offset + 1)
        assert log.offset_at(EVENTS_TOPIC, partition, instant) == expected


def test_offset_at_in_an_empty_partition_is_the_end(log: EventLog) -> None:
    for partition, bounds in log.bounds(EVENTS_TOPIC).items():
        assert log.offset_at(EVENTS_TOPIC, partition, 0) == bounds.end


def test_what_is_no_partition(log: EventLog) -> None:
    absent = max(log.bounds(EVENTS_TOPIC)) + 1
    with pytest.raises(SomaError, match=str(absent)):
        list(log.scan(EVENTS_TOPIC, absent, 0, 1))
    with pytest.raises(SomaError, match=str(absent)):
        log.offset_at(EVENTS_TOPIC, absent, 0)


# --- consumers ---------------------------------------------------------------------------------------------------


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


# --- members -----------------------------------------------------------------------------------------------------

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


def test_a_copier_needs_transactions(adapter: str, log: EventLog, group: str) -> None:
    if adapter == "sqlite":
        with pytest.raises(ConfigurationError):
            log.copier(group, EVENTS_TOPIC, from_beginning(log))
    else:
        log.copier(group, EVENTS_TOPIC, from_beginning(log)).close()
