"""Transactions on Kafka: aborted ones are unseen, and what a copier publishes is there once, whoever dies meanwhile."""

from __future__ import annotations

import select
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Producer

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import Fenced, Run
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.settings import LogSettings
from tests.contracts.event_logs import of_one_key
from tests.contracts.events import everything
from tests.contracts.kafka_logs import Instead, batch, copy, copy_until, from_beginning, many, published
from tests.contracts.kafka_logs import log as log
from tests.contracts.kafka_logs import settings as settings
from tests.contracts.processes import output, start, until


def test_a_copier_that_is_no_member_any_more_publishes_nothing(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    """Also where its client has heard so, and the copier not yet: its membership then is that of nobody."""
    copier: Any = log.copier(group, EVENTS_TOPIC, from_beginning)
    log.append(of_one_key(5))
    nobody = Client({"bootstrap.servers": settings.bootstrap_servers or "", "group.id": group})
    client = copier.consumer
    polled, deadline = list[Run](), time.monotonic() + 30
    copier.consumer = client
    while not copier.assigned() and time.monotonic() < deadline:
        copier.poll(1, 0.2)
    copier.consumer = Instead(client, consumer_group_metadata=nobody.consumer_group_metadata, memberid=nobody.memberid)
    log.append(of_one_key(5))
    while not polled and time.monotonic() < deadline:
        polled = copier.poll(10, 0.2)
    with pytest.raises(Fenced):
        copier.publish([NewRecord(AUDIT_TOPIC, b"k", b"v")], {run.partition: run.end for run in polled})
    assert everything(log, AUDIT_TOPIC) == []
    assert log.committed(group, EVENTS_TOPIC) == {}
    copier.consumer = client
    nobody.close()
    copier.close()


def test_a_copier_whose_producer_is_fenced_while_it_sends(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    """The client hears of it in the background; from then on it takes no record, and says why only when polled."""
    log.append(many(2))
    copier: Any = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy(copier, batch(copier, 1))
    runs, own = batch(copier, 1), copier._producer
    other = {"bootstrap.servers": settings.bootstrap_servers, "transactional.id": copier._transactional_id}
    Producer(other).init_transactions(10)

    def slow(*arguments: object, **more: object) -> None:
        own.produce(*arguments, **more)
        time.sleep(1)

    copier._producer = Instead(own, produce=slow)
    copies = [NewRecord(AUDIT_TOPIC, b"k", b"copy", partition=0)] * 2
    with pytest.raises(Fenced):
        copier.publish(copies, {run.partition: run.end for run in runs})
    copy_until(copier, log)
    copier.close()


def test_published_once(log: KafkaEventLog, group: str) -> None:
    log.append(many(100))
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    copier.close()
    ends = {partition: bounds.end for partition, bounds in log.bounds(EVENTS_TOPIC).items()}

    def committed() -> dict[int, int]:
        return {partition: item.offset for partition, item in log.committed(group, EVENTS_TOPIC).items()}

    until(lambda: committed() == ends)  # once the marker of the last transaction is written
    log.append(many(30))
    again = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(again, log)
    again.close()


def ends_at(log: KafkaEventLog, end: int) -> bool:
    return log.bounds(EVENTS_TOPIC)[1].end == end


def test_aborted_is_unseen(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """Neither an abort nor the gaps of markers stop a reader; an open transaction holds back the end."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": group})
    producer.init_transactions(10)
    name, seen = settings.topic_prefix + EVENTS_TOPIC, list[bytes | None]()
    for number, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(name, f"{number}".encode(), b"k", partition=1)
        producer.flush(10)
        assert log.bounds(EVENTS_TOPIC)[1].end == 2 * number
        assert [item.value for item in everything(log)] == seen
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)
        seen += [f"{number}".encode()] if commit else []
        until(partial(ends_at, log, 2 * number + 2))
        assert [item.value for item in everything(log)] == seen
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    reached, found, deadline = 0, list[Record](), time.monotonic() + 20
    while reached < 8 and time.monotonic() < deadline:
        for run in consumer.poll(100, 0.2):
            assert run.start == reached
            reached = run.end
            found += run.records
    assert (reached, [item.value for item in found]) == (8, [b"0", b"2"])
    consumer.close()


ZOMBIE = """
from tests.contracts.kafka_logs import batch, copy, copy_until, from_beginning
from tests.contracts.processes import until
log = LOGS[ADAPTER](PLACE)
copier = log.copier(ARGUMENTS[0], EVENTS_TOPIC, from_beginning)
runs = batch(copier, 100)
member = copier.consumer.memberid()
print(sum(len(run.records) for run in runs), flush=True)
while not Path(ARGUMENTS[1]).exists():
    time.sleep(0.01)
until(lambda: copier.keep() or (copier.consumer.memberid() not in (member, "") and copier.assigned()))
try:
    copy(copier, runs)
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    print("published", flush=True)
copy_until(copier, log)
copier.close()
"""


def test_zombies_are_fenced(place: Path, settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """A process that was stopped for longer than its session; what it wakes up with was published by another. It
    is a member again before it publishes, because `keep` is called meanwhile, but another one."""
    log.append(many(90))
    process = start(ZOMBIE, "kafka", place, group, place / "go")
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    process.send_signal(signal.SIGSTOP)
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    (place / "go").touch()
    process.send_signal(signal.SIGCONT)
    told = process.stdout
    until(lambda: copier.poll(10, 0.05) == [] and bool(select.select([told], [], [], 0)[0]))
    assert process.stdout.readline() == "Fenced\n"
    until(lambda: copier.poll(10, 0.05) == [] and process.poll() is not None)
    assert output(process) == ""
    assert len(everything(log, AUDIT_TOPIC)) == 90
    copier.close()


COPY = """
from contextlib import suppress
from soma_cli.core.errors import ServiceUnavailable
from tests.contracts.kafka_logs import copy, from_beginning
log = LOGS[ADAPTER](PLACE)
copier = log.copier(ARGUMENTS[0], EVENTS_TOPIC, from_beginning)
while True:
    runs = []
    with suppress(ServiceUnavailable):  # while a transaction of one that was killed is open
        runs = copier.poll(5, 0.2)
    if runs:
        copy(copier, runs)
        print(sum(len(run.records) for run in runs), flush=True)
"""


def test_published_once_over_kill(place: Path, log: KafkaEventLog, group: str) -> None:
    log.append(many(300))
    for lines in (2, 5):
        process = start(COPY, "kafka", place, group)
        assert process.stdout is not None
        for _ in range(lines):
            assert int(process.stdout.readline()) > 0
        process.kill()
        output(process, killed=True)
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    copier.close()


class Unanswered:
    """The copier's own producer; its commit is done, and the answer is lost on the way."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, timeout_s: float) -> None:
        self._producer.commit_transaction(timeout_s)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_commit_whose_answer_was_lost_is_not_made_again(log: KafkaEventLog, group: str) -> None:
    log.append(many(20))
    copier: Any = log.copier(group, EVENTS_TOPIC, from_beginning)
    first = batch(copier, 10)
    until(lambda: published(copier, first))
    runs = batch(copier, 10)
    copier._producer = Unanswered(copier._producer)
    with pytest.raises(ServiceUnavailable):
        copy(copier, runs)
    until(lambda: published(copier, runs))
    copy_until(copier, log)
    copier.close()
