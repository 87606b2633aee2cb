"""The baseline's SQLite: the same durability and the page size that measured best, and nothing around it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

from soma_cli.core.event import MemoryEvent

_PRAGMAS = ("page_size=16384", "journal_mode=WAL", "wal_autocheckpoint=2000", "cache_size=-16000")
_RECORDS = "CREATE TABLE records (seq INTEGER PRIMARY KEY, appended_at INTEGER, key BLOB, value BLOB, headers BLOB)"
_APPEND = "INSERT INTO records VALUES (?, ?, ?, ?, ?)"
_MEMORY = "INSERT OR REPLACE INTO memories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOURNAL = "INSERT INTO memory_events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (*_PRAGMAS, f"synchronous={'FULL' if durable else 'NORMAL'}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class BareLog:
    """One table of records, every commit synced."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path, durable=True)
        self.connection.execute(_RECORDS)
        self._next = 0

    def append(self, records: list[tuple[bytes, bytes]]) -> None:
        """(key, value) of each record, in one transaction."""
        rows = [(self._next + number, 0, key, value, None) for number, (key, value) in enumerate(records)]
        self._next += len(rows)
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_APPEND, rows)
        self.connection.execute("COMMIT")

    def read(self, start: int, limit: int) -> list[tuple[int, int, bytes, bytes, bytes | None]]:
        return self.connection.execute(
            "SELECT * FROM records WHERE seq >= ? ORDER BY seq LIMIT ?", (start, limit)
        ).fetchall()


class BareStore:
    """Writes the rows of new memories into tables that soma made: no fold, no guard, no look at what is there."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path, durable=False)

    def write(self, start: int, events: list[MemoryEvent]) -> None:
        memories = [
            (e.id, e.namespace, _json(e.payload), e.importance, 0, 0, start + n, e.event_id, e.model_revision, 0)
            for n, e in enumerate(events)
        ]
        journal = [
            (start + n, e.id, e.event_id, e.type, 0, 0, "applied", "", e.value.decode()) for n, e in enumerate(events)
        ]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_MEMORY, memories)
        self.connection.executemany(_JOURNAL, journal)
        self.connection.execute("INSERT OR REPLACE INTO positions VALUES ('bare', 0, ?)", (start + len(events),))
        self.connection.execute("COMMIT")


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
