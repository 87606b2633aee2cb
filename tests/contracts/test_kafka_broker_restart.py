"""The only broker is stopped and started: who reads and copies says so meanwhile, and goes on by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings, WorkerSettings
from soma_cli.core.workers.audit_writer import AuditWriter
from soma_cli.core.workers.copying import CopySource
from soma_cli.core.workers.loop import Source, Status, Worker
from tests.contracts.events import everything
from tests.services import KafkaCluster

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
        self.worker = Worker(self.log, writer, read, WorkerSettings(), report=self._heard)
        self.thread = threading.Thread(target=self.worker.run, daemon=True)

    def _heard(self, status: Status) -> None:
        self.states.append(status.state)

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
    return LogSettings("kafka", cluster.address, 2, 1, prefix, timeout_s=3, session_timeout_s=3)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {what}"
        time.sleep(0.05)


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
    log.provision()
    with copying(settings) as copier:
        append(log, "before")
        until(lambda: copier.passed() == 8, "the first were copied")
        copier.states.clear()
        broker.stop()
        until(lambda: copier.states.count("retrying") >= 2, "it says that it cannot read")
        broker.start()
        append(log, "after")
        held = sum(bounds.end for bounds in log.bounds(EVENTS_TOPIC).values())
        until(lambda: copier.passed() == held, "it went on")
        until(lambda: copier.states[-1] == "idle", "it says that it has partitions, and nothing to do")
    assert len(everything(log, AUDIT_TOPIC)) == held
    log.close()
