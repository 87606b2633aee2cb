"""The adapters that the contracts hold for. A new one is added here and nowhere else.

Each opens what lies at a place: the same place gives the same log or store, also from another process; a new place
gives a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.adapters.memory_store.sqlite import SqliteMemoryStore
from soma_cli.core.ports import EventLog, MemoryStore
from soma_cli.core.settings import LogSettings, StoreSettings
from tests.services import kafka_address, new_topic_prefix, postgres_dsn


def sqlite_log(place: Path) -> EventLog:
    return SqliteEventLog(open_data_folder(place), poll_interval_s=0.005)


def sqlite_store(place: Path) -> MemoryStore:
    return SqliteMemoryStore(open_data_folder(place))


def postgres_settings(place: Path) -> StoreSettings:
    """A database of its own for each place; the file `dsn` there names it."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / "dsn"
    with FileLock(place / "dsn.lock"):
        if not file.exists():
            file.write_text(postgres_dsn())
    return StoreSettings(kind="postgres", dsn=file.read_text())


def postgres_store(place: Path) -> MemoryStore:
    store = PostgresMemoryStore(postgres_settings(place))
    store.provision()
    return store


def kafka_settings(place: Path) -> LogSettings:
    """Topics of its own for each place; the file `prefix` there names them. They are made once."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / "prefix"
    with FileLock(place / "prefix.lock"):
        if file.exists():
            return _kafka_settings(file.read_text())
        settings = _kafka_settings(new_topic_prefix())
        log = KafkaEventLog(settings)
        log.provision()
        log.close()
        file.write_text(settings.topic_prefix)
    return settings


def _kafka_settings(prefix: str) -> LogSettings:
    return LogSettings(
        kind="kafka",
        bootstrap_servers=kafka_address(),
        partitions=3,
        replication_factor=1,
        topic_prefix=prefix,
        session_timeout_s=3.0,
    )


def kafka_log(place: Path) -> EventLog:
    return KafkaEventLog(kafka_settings(place))


LOGS: dict[str, Callable[[Path], EventLog]] = {"kafka": kafka_log, "sqlite": sqlite_log}
STORES: dict[str, Callable[[Path], MemoryStore]] = {"postgres": postgres_store, "sqlite": sqlite_store}
