"""The adapters that the contracts hold for. A new one is added here and nowhere else.

Each opens what lies at a place: the same place gives the same log or store, also from another process; a new place
gives a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.adapters.memory_store.sqlite import SqliteMemoryStore
from soma_cli.core.ports import EventLog, MemoryStore


def sqlite_log(place: Path) -> EventLog:
    return SqliteEventLog(open_data_folder(place), poll_interval_s=0.005)


def sqlite_store(place: Path) -> MemoryStore:
    return SqliteMemoryStore(open_data_folder(place))


LOGS: dict[str, Callable[[Path], EventLog]] = {"sqlite": sqlite_log}
STORES: dict[str, Callable[[Path], MemoryStore]] = {"sqlite": sqlite_store}
