"""An event log of every adapter in turn, and reading from it, for the contracts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from soma_cli.core.ports import Consumer, EventLog, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord, Record
from tests.contracts.adapters import LOGS
from tests.contracts.events import new_record
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
