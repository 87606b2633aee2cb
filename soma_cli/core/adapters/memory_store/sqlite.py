"""The embedded store: canonical rows and journal in one SQLite file, access statistics in another.

A power cut may take back the newest commits (`synchronous=NORMAL`); rows, journal and position go back together, and
the log, which is synced, has the events still. The statistics lie apart so that counting a read never waits for kv.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import takewhile
from typing import Any

import orjson

from soma_cli.core.adapters.data_folder import DataFolder
from soma_cli.core.adapters.memory_store.sqlite_shadow import SqliteStoreShadow
from soma_cli.core.adapters.memory_store.sqlite_tables import (
    SQL,
    Tables,
    journal_entries,
    journal_seq,
    state_of,
)
from soma_cli.core.adapters.memory_store.store_rules import log_replaced
from soma_cli.core.adapters.sqlite import Database
from soma_cli.core.adapters.sqlite_health import database_health, is_held
from soma_cli.core.event import version_of
from soma_cli.core.instants import now_us
from soma_cli.core.memory import EventKey, MemoryState, Outcome
from soma_cli.core.ports import Access, Applied, Batch, JournalEntry, Provisioned
from soma_cli.core.record import Position
from soma_cli.core.results import Finding

_SCAN_CHUNK = 1000
_RECORD_ACCESS = """
INSERT INTO access (id, last_access, access_count) VALUES (?, ?, 1)
ON CONFLICT (id) DO UPDATE SET
    last_access = max(last_access, excluded.last_access), access_count = access_count + 1
"""
_ACCESS = "SELECT id, last_access, access_count FROM access WHERE id IN (SELECT value FROM json_each(?))"


class SqliteMemoryStore:
    """`MemoryStore` on SQLite. Safe with several threads and processes."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._rebuild_lock = folder.root / ".rebuild-kv.lock"
        self._live = Tables()
        self._database = Database(folder.store, SQL / "migrations", folder.setup_lock(), durable=False)
        try:
            self._access = Database(folder.access, SQL / "access_migrations", folder.setup_lock(), durable=False)
        except BaseException:
            self._database.close()
            raise

    def provision(self) -> Provisioned:
        """Opening has made and migrated the tables already."""
        return Provisioned([], ["tables"], [])

    def register_topic(self, topic: str, topic_id: str, *, new_epoch: bool = False) -> int:
        known = self.epochs(topic)
        if topic_id in known:
            return known[topic_id]
        with self._database.writing() as connection:
            known = self.epochs(topic)
            if topic_id not in known:
                if known and not new_epoch:
                    raise log_replaced(topic_id)
                known[topic_id] = len(known)
                connection.execute(self._live["register_topic"], (topic_id, topic, known[topic_id], now_us()))
        return known[topic_id]

    def epochs(self, topic: str) -> dict[str, int]:
        with self._database.reading() as connection:
            return dict(connection.execute(self._live["epochs"], (topic,)).fetchall())

    def positions(self, topic_id: str) -> dict[int, int]:
        with self._database.reading() as connection:
            return self._live.positions(connection, topic_id)

    def apply(self, batch: Batch) -> Applied:
        with self._database.writing() as connection:
            return self._live.apply(connection, batch)

    def states(self, ids: Collection[str]) -> dict[str, MemoryState]:
        with self._database.reading() as connection:
            return self._live.states(connection, ids)

    def list_states(self, *, namespace: str | None, since: int | None, limit: int) -> list[MemoryState]:
        since_us = -1 if since is None else since
        with self._database.reading() as connection:
            if namespace is None:
                rows = connection.execute(self._live["list_all"], (since_us, limit))
            else:
                rows = connection.execute(self._live["list_namespace"], (since_us, namespace, limit))
            return [state_of(row) for row in rows]

    def scan_states(self, *, namespace: str | None = None, deleted: bool = False) -> Iterator[MemoryState]:
        after = ""
        while True:
            arguments = (after, deleted, namespace, namespace, _SCAN_CHUNK)
            with self._database.reading() as connection:
                rows = connection.execute(self._live["scan"], arguments).fetchall()
            yield from map(state_of, rows)
            if len(rows) < _SCAN_CHUNK:
                return
            after = rows[-1][0]

    def history(self, id: str) -> list[JournalEntry]:
        return self._journal("history", (id, id))

    def journal_at(self, topic_id: str, positions: Collection[Position]) -> dict[Position, JournalEntry]:
        with self._database.reading() as connection:
            epoch = self._live.epoch(connection, topic_id)
        seqs = [journal_seq(position.partition, version_of(epoch, position.offset)) for position in positions]
        return {entry.position: entry for entry in self._journal("journal_at", (orjson.dumps(seqs).decode(),))}

    def first_positions(self, keys: Collection[EventKey]) -> dict[EventKey, JournalEntry]:
        entries = self._journal("first_positions", (orjson.dumps(list(keys)).decode(),))
        return {(entry.id or "", entry.event_id or ""): entry for entry in entries}

    def find_event(self, event_id: str) -> list[JournalEntry]:
        return self._journal("find_event", (event_id,))

    def _journal(self, query: str, arguments: tuple[object, ...]) -> list[JournalEntry]:
        with self._database.reading() as connection:
            return journal_entries(connection.execute(self._live[query], arguments))

    def trailing_rejects(self, topic_id: str, partition: int, limit: int) -> int:
        with self._database.reading() as connection:
            first = journal_seq(partition, version_of(self._live.epoch(connection, topic_id), 0))
            behind = journal_seq(partition + 1, 0)
            outcomes = [row[0] for row in connection.execute(self._live["newest_outcomes"], (first, behind, limit))]
        return len(list(takewhile(Outcome.REJECTED.value.__eq__, outcomes)))

    def landing_runs(self) -> bool:
        return False

    def stats(self) -> dict[str, Any]:
        with self._database.reading() as connection:
            namespaces = connection.execute(self._live["count_namespaces"]).fetchall()
            tombstones = connection.execute(self._live["count_tombstones"]).fetchone()[0]
            outcomes = dict(connection.execute(self._live["count_outcomes"]).fetchall())
        return {
            "memories": sum(count for _, count, _ in namespaces),
            "namespaces": [{"namespace": name, "memories": count, "bytes": size} for name, count, size in namespaces],
            "tombstones": tombstones,
            "where": str(self._folder.store),
            "journal": {outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome},
        }

    def record_access(self, ids: Collection[str], instant: int) -> None:
        with self._access.writing() as connection:
            connection.executemany(_RECORD_ACCESS, [(id, instant) for id in ids])

    def access(self, ids: Collection[str]) -> dict[str, Access]:
        with self._access.reading() as connection:
            rows = connection.execute(_ACCESS, (orjson.dumps(list(ids)).decode(),))
            return {id: Access(last, count) for id, last, count in rows}

    def shadow(self, topic_id: str) -> SqliteStoreShadow:
        return SqliteStoreShadow(self._database, topic_id, self._rebuild_lock)

    def health(self, *, deep: bool = False) -> list[Finding]:
        hint = "restore it from a backup; or move it, its -wal and its -shm away: the next read makes it {}"
        return [
            database_health("store", self._database, hint.format("from the log"), deep=deep),
            database_health("access", self._access, hint.format("and counts anew"), deep=deep),
            *self._leftovers(),
        ]

    def _leftovers(self) -> list[Finding]:
        with self._database.reading() as connection:
            tables = connection.execute(self._live["tables"]).fetchall()
        if not tables or is_held(self._rebuild_lock):
            return []
        message = f"{len(tables)} tables of a rebuild of kv that died take up space"
        return [Finding("leftovers", "warning", message, "the next `soma replay --into kv` drops them")]

    def close(self) -> None:
        self._database.close()
        self._access.close()
