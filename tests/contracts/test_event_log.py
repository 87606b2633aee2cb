"""The promises of the port EventLog, for every adapter: what is appended is kept in order, and read again."""

from __future__ import annotations

import itertools
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soma_cli.core.errors import SomaError
from soma_cli.core.ports import EventLog
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, NewRecord
from tests.contracts.adapters import LOGS
from tests.contracts.event_logs import Open, of_one_key
from tests.contracts.event_logs import adapter as adapter
from tests.contracts.event_logs import log as log
from tests.contracts.event_logs import open_log as open_log
from tests.contracts.events import event_value, everything, new_record, uid
from tests.contracts.processes import output, start

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
