"""The only broker is stopped and started: who reads and copies says so meanwhile, and goes on by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.adapters.event_log.kafka_consumer import KafkaConsumer
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings, WorkerSettings
from soma_cli.core.workers.audit_writer import AuditWriter
from soma_cli.core.workers.copying import CopySource
from soma_cli.core.workers.loop import Status, Worker
from soma_cli.core.workers.source import Source
from tests.contracts.events import everything
from tests.services import KafkaCluster
from tests.services.ports import free_port, give_back

WITHIN_S = 90.0


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=1) as cluster:
        yield cluster


class Copying:
    """An audit worker in a thread, and every state that it was in."""

    def __init__(self, settings: LogSettings) -> None:
        self.log = KafkaEventLog(settings)
        source = CopySource(self.log, f"{settings.topic_prefix}audit", lambda partition: 0)
        writer = AuditWriter(self.log, source)
        read = Source(EVENTS_TOPIC, source.join, copies=True)
        self.states: list[str] = []
        self.details: list[str] = []
        self.worker = Worker(self.log, writer, read, WorkerSettings(), report=self._heard)
        self.thread = threading.Thread(target=self.worker.run, daemon=True)

    def _heard(self, status: Status) -> None:
        self.states.append(status.state)
        self.details.append(f"{status.state} {status.positions} {status.detail}")

    def __repr__(self) -> str:
        return f"the worker said: {self.details[-10:]}"

    def passed(self) -> int:
        return sum(self.worker.status.positions.values())


@contextmanager
def copying(settings: LogSettings) -> Iterator[Copying]:
    copier = Copying(settings)
    copier.thread.start()
    try:
        yield copier
    finally:
        copier.worker.stop.set()
        copier.thread.join(WITHIN_S)
        copier.log.close()
    assert not copier.thread.is_alive()


def settings_of(cluster: KafkaCluster, prefix: str) -> LogSettings:
    return LogSettings("kafka", cluster.address, 2, 1, prefix, timeout_s=3, session_timeout_s=6)


def provision(log: KafkaEventLog) -> None:
    """A broker that has just been started takes its time."""
    patient = KafkaEventLog(replace(log._settings, timeout_s=30))
    patient.provision()
    patient.close()


def until(condition: Callable[[], bool], what: str, seen: object = None) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {what}; {seen}"
        time.sleep(0.05)


def held(log: KafkaEventLog) -> int:
    return sum(bounds.end for bounds in log.bounds(EVENTS_TOPIC).values())


def append(log: KafkaEventLog, name: str) -> None:
    """Four records into each of the two partitions, again where that failed: what is there twice is copied twice."""
    records = [NewRecord(EVENTS_TOPIC, b"k", name.encode(), partition=number % 2) for number in range(8)]
    while True:
        try:
            log.append(records)
        except ServiceUnavailable:
            continue
        return


def test_a_copier_says_that_the_broker_is_away_and_goes_on_when_it_is_back(broker: KafkaCluster) -> None:
    settings = settings_of(broker, "b.")
    log = KafkaEventLog(settings)
    provision(log)
    with copying(settings) as copier:
        append(log, "before")
        until(lambda: copier.passed() == 8, "the first were copied", copier)
        copier.states.clear()
        broker.stop()
        until(lambda: copier.states.count("retrying") >= 2, "it says that it cannot read", copier)
        broker.start()
        append(log, "after")
        until(lambda: copier.passed() == held(log), "it went on", copier)
        until(lambda: copier.states[-1] == "idle", "it says that it has partitions, and nothing to do", copier)
    assert len(everything(log, AUDIT_TOPIC)) == held(log) >= 16
    log.close()


def test_offsets_that_an_open_transaction_may_change_are_told_as_such(broker: KafkaCluster) -> None:
    log = KafkaEventLog(settings_of(broker, "s."))
    provision(log)
    servers = {"bootstrap.servers": broker.address}
    member, producer = Consumer({**servers, "group.id": "s"}), Producer({**servers, "transactional.id": "s"})
    producer.init_transactions(30)
    producer.begin_transaction()
    offsets = [TopicPartition(f"s.{EVENTS_TOPIC}", 0, 0)]
    producer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), 30)
    with pytest.raises(ServiceUnavailable, match="a transaction is open that may change them"):
        log._cluster.committed("s", EVENTS_TOPIC, stable=True)
    producer.commit_transaction(30)

    def settled() -> bool:
        with suppress(ServiceUnavailable):
            return log._cluster.committed("s", EVENTS_TOPIC, stable=True)[0].offset == 0
        return False

    until(settled, "the marker of the transaction is written")
    member.close()
    log.close()


# --- clients that have lost the brokers for good: here they are such that never knew where these are ---


@pytest.fixture
def lost() -> Iterator[dict[str, object]]:
    """The settings of a client that finds nobody, and reports no error."""
    port = free_port()
    yield {"bootstrap.servers": f"127.0.0.1:{port}", "error_cb": lambda error: None, "log_level": 0}
    give_back(port)


def values(consumer: KafkaConsumer) -> set[bytes | None]:
    return {record.value for run in consumer.poll(100, 0.5) for record in run.records}


def test_a_reader_that_has_lost_the_brokers_says_so_and_joins_anew(
    broker: KafkaCluster, lost: dict[str, object]
) -> None:
    log = KafkaEventLog(settings_of(broker, "l."))
    provision(log)
    append(log, "before")
    reader = log.consumer("l.readers", EVENTS_TOPIC, lambda partition: 0)
    assert isinstance(reader, KafkaConsumer)
    until(lambda: b"before" in values(reader), "it reads")
    at_work, reader.consumer = reader.consumer, Consumer({"group.id": "l.readers", **lost})
    at_work.close()
    append(log, "after")
    with pytest.raises(ServiceUnavailable, match=f"reading {EVENTS_TOPIC} failed"):
        until(lambda: b"after" in values(reader), "it reads without brokers")

    def goes_on() -> bool:
        with suppress(ServiceUnavailable):  # while it is not sure yet that it has lost them
            return b"after" in values(reader)
        return False

    until(goes_on, "it goes on")
    reader.close()
    log.close()


def test_the_next_question_goes_to_a_new_client(broker: KafkaCluster, lost: dict[str, object]) -> None:
    log = KafkaEventLog(settings_of(broker, "q."))
    provision(log)
    assert log.committed("q.readers", EVENTS_TOPIC) == {}
    log._cluster._made = AdminClient(lost)  # type: ignore[arg-type]
    [asking] = log._cluster._groups._asking.values()
    asking.consumer.close()
    asking.consumer = Consumer({"group.id": "q.readers", **lost})
    for ask in (lambda: log.bounds(EVENTS_TOPIC), lambda: log.committed("q.readers", EVENTS_TOPIC)):
        with pytest.raises(ServiceUnavailable):
            ask()
        ask()
    log.close()
