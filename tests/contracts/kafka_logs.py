"""A log on Kafka with topics of the test's own; changes to these topics, and copying from one to another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import Copier, Fenced, Run
from soma_cli.core.record import AUDIT_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings
from tests.contracts.adapters import kafka_settings
from tests.contracts.event_logs import records_of
from tests.contracts.events import everything, new_record
from tests.contracts.processes import until


@pytest.fixture
def settings(place: Path) -> LogSettings:
    return kafka_settings(place)


@pytest.fixture
def log(settings: LogSettings) -> Iterator[KafkaEventLog]:
    log = KafkaEventLog(settings)
    yield log
    log.close()


def many(count: int) -> list[NewRecord]:
    return [new_record(number % 9, number) for number in range(count)]


def from_beginning(partition: int) -> int:
    return 0


def alter(admin: Any, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


class Instead:
    """A client of which some calls are replaced."""

    def __init__(self, client: Any, **calls: Callable[..., object]) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._client, name)


def copy(copier: Copier, runs: list[Run]) -> None:
    copies = [
        NewRecord(AUDIT_TOPIC, item.key, item.value, (("at", str(item.position).encode()),), item.partition)
        for item in records_of(runs)
    ]
    copier.publish(copies, {run.partition: run.end for run in runs})


def batch(copier: Copier, limit: int) -> list[Run]:
    found: list[Run] = []

    def came() -> bool:
        with suppress(ServiceUnavailable):
            found.extend(copier.poll(limit, 0.2))
        return bool(found)

    until(came)
    return found


def published(copier: Copier, runs: list[Run]) -> bool:
    with suppress(ServiceUnavailable):
        copy(copier, runs)
        return True
    return False


def copy_until(copier: Copier, log: KafkaEventLog) -> None:
    """Copy until everything is; the audit topic then has each value once."""
    expected = sorted(item.value or b"" for item in everything(log))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # A transaction of one that died is in the way until its time is over.
        with suppress(Fenced, ServiceUnavailable):
            if runs := copier.poll(20, 0.1):
                copy(copier, runs)
            elif len(everything(log, AUDIT_TOPIC)) >= len(expected):
                break
    assert sorted(item.value or b"" for item in everything(log, AUDIT_TOPIC)) == expected
