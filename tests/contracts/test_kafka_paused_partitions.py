"""A client remembers which partitions it was told to leave alone, also when they go to another member."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import Consumer
from soma_cli.core.record import EVENTS_TOPIC, Record
from tests.contracts.adapters import kafka_settings
from tests.contracts.event_logs import records_of
from tests.contracts.events import everything, new_record
from tests.contracts.processes import until


@pytest.fixture
def log(place: Path) -> Iterator[KafkaEventLog]:
    log = KafkaEventLog(kafka_settings(place))
    log.append([new_record(number % 9, number) for number in range(300)])
    yield log
    log.close()


def test_partitions_that_come_back_are_read_after_a_long_batch(log: KafkaEventLog, group: str) -> None:
    """What comes while a batch takes long is kept, and with some of it the partitions stand still."""
    first: Any = log.consumer(group, EVENTS_TOPIC, lambda partition: 0)
    found: list[Record] = []
    until(lambda: bool(found.extend(records_of(first.poll(1, 0.1))) or found))

    def stands_still() -> bool:
        first.keep()
        return bool(first._paused)

    until(stands_still)
    second = log.consumer(group, EVENTS_TOPIC, lambda partition: 0)

    def shared() -> bool:
        first.keep()
        second.poll(1, 0.05)
        return bool(second.assigned()) and len(first.assigned()) < 3

    until(shared)
    _gives_back(first, second, found)
    assert _all_read(log, first, found)
    first.close()


def test_partitions_that_come_back_are_read_after_they_could_not_be_begun_again(log: KafkaEventLog, group: str) -> None:
    """Where a batch was for nothing all partitions are begun again, and stand still until that is possible."""
    away = False

    def begin(partition: int) -> int:
        if away:
            raise ServiceUnavailable("the store is away")
        return 0

    first: Any = log.consumer(group, EVENTS_TOPIC, begin)
    found: list[Record] = []
    until(lambda: bool(found.extend(records_of(first.poll(1, 0.1))) or found))
    away = True
    first._astray = True
    second = log.consumer(group, EVENTS_TOPIC, lambda partition: 0)

    def shared() -> bool:
        with pytest.raises(ServiceUnavailable):
            first.poll(1, 0.05)
        first.keep()
        second.poll(1, 0.05)
        return bool(second.assigned()) and len(first.assigned()) < 3

    until(shared)
    away = False
    _gives_back(first, second, found)
    assert _all_read(log, first, found)
    first.close()


def _gives_back(first: Consumer, second: Consumer, found: list[Record]) -> None:
    found.extend(records_of(first.poll(500, 0.1)))
    second.close()

    def has_all() -> bool:
        found.extend(records_of(first.poll(500, 0.1)))
        return len(first.assigned()) == 3

    until(has_all)


def _all_read(log: KafkaEventLog, consumer: Consumer, found: list[Record]) -> bool:
    wanted = {item.position for item in everything(log)}

    def read() -> bool:
        found.extend(records_of(consumer.poll(500, 0.1)))
        return wanted <= {item.position for item in found}

    until(read)
    return True
