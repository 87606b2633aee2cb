"""The store of the cluster: canonical rows, journal, positions and access statistics in PostgreSQL.

Everything lies in the first schema of the connection's search_path. Nothing is made or migrated by opening the store.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import takewhile
from typing import Any
from uuid import UUID

from soma_cli.core.adapters.memory_store.postgres_arrays import Bigints, Instant, Integers
from soma_cli.core.adapters.memory_store.postgres_connections import Connections, Session
from soma_cli.core.adapters.memory_store.postgres_errors import translated
from soma_cli.core.adapters.memory_store.postgres_health import store_health
from soma_cli.core.adapters.memory_store.postgres_migrations import check_schema, migrate
from soma_cli.core.adapters.memory_store.postgres_rows import ids_array, journal_entry, keys_arrays, state_of
from soma_cli.core.adapters.memory_store.postgres_shadow import PostgresStoreShadow
from soma_cli.core.adapters.memory_store.postgres_tables import Tables
from soma_cli.core.adapters.memory_store.store_rules import log_replaced
from soma_cli.core.errors import SomaError
from soma_cli.core.event import is_canonical_uuid, version_of
from soma_cli.core.memory import EventKey, MemoryState, Outcome
from soma_cli.core.ports import Access, Applied, Batch, JournalEntry, Provisioned
from soma_cli.core.record import Position
from soma_cli.core.results import Finding
from soma_cli.core.settings import StoreSettings

_SCAN_CHUNK = 1000
_MIGRATION_S = 60.0
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class PostgresMemoryStore:
    """`MemoryStore` on PostgreSQL. Safe with several threads and processes.

    `one_shot` = one connection, which threads take turns at; else up to `store.pool_size`.
    """

    def __init__(self, settings: StoreSettings, *, one_shot: bool = False) -> None:
        self._connections = Connections(settings, 1 if one_shot else settings.pool_size)
        self._live = Tables()
        self._checked = threading.Event()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A connection to tables of this version."""
        with self._connections.use() as session:
            if not self._checked.is_set():
                check_schema(session, self._connections.where)
                self._checked.set()
            yield session

    def _rows(self, query: str, arguments: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        with self._session() as session:
            return session.execute(self._live[query], arguments, binary=True).fetchall()

    def provision(self) -> Provisioned:
        where = self._connections.where
        with translated(where), closing(self._connections.open(idle_s=_MIGRATION_S)) as session:
            return migrate(session, where)

    def register_topic(self, topic: str, topic_id: str, *, new_epoch: bool = False) -> int:
        known = self.epochs(topic)
        if topic_id in known:
            return known[topic_id]
        with self._session() as session, session.transaction():
            session.execute(self._live["register_turn"])
            known = dict(session.execute(self._live["epochs"], (topic,)).fetchall())
            if topic_id not in known:
                if known and not new_epoch:
                    raise log_replaced(topic_id)
                known[topic_id] = len(known)
                session.execute(self._live["register_topic"], (topic_id, topic, known[topic_id]))
        return known[topic_id]

    def epochs(self, topic: str) -> dict[str, int]:
        return dict(self._rows("epochs", (topic,)))

    def positions(self, topic_id: str) -> dict[int, int]:
        return dict(self._rows("positions", (topic_id,)))

    def apply(self, batch: Batch) -> Applied:
        with self._session() as session:
            return self._live.apply(session, batch)

    def states(self, ids: Collection[str]) -> dict[str, MemoryState]:
        return {row[0]: state_of(row) for row in self._rows("states", (ids_array(ids),))}

    def list_states(self, *, namespace: str | None, since: int | None, limit: int) -> list[MemoryState]:
        earliest = Instant(-1 if since is None else since)
        if namespace is None:
            rows = self._rows("list_all", (earliest, limit))
        else:
            rows = self._rows("list_namespace", {"since": earliest, "namespace": namespace, "limit": limit})
        return [state_of(row) for row in rows]

    def scan_states(self, *, namespace: str | None = None, deleted: bool = False) -> Iterator[MemoryState]:
        """By pages, each a statement of its own: no transaction stays open while the caller works."""
        page = {"from": str(UUID(int=0)), "deleted": deleted, "namespace": namespace, "limit": _SCAN_CHUNK}
        while True:
            rows = self._rows("scan", page)
            yield from map(state_of, rows)
            if len(rows) < _SCAN_CHUNK or rows[-1][0] == _LAST_ID:
                return
            page["from"] = str(UUID(int=UUID(rows[-1][0]).int + 1))

    def history(self, id: str) -> list[JournalEntry]:
        return self._journal("history", (ids_array([id]),))

    def journal_at(self, topic_id: str, positions: Collection[Position]) -> dict[Position, JournalEntry]:
        with self._session() as session:
            epoch = self._live.epoch(session, topic_id)
        asked = [position for position in positions if position.offset >= 0]
        partitions = Integers([position.partition for position in asked])
        versions = Bigints([version_of(epoch, position.offset) for position in asked])
        return {entry.position: entry for entry in self._journal("journal_at", (partitions, versions))}

    def first_positions(self, keys: Collection[EventKey]) -> dict[EventKey, JournalEntry]:
        entries = self._journal("first_positions", keys_arrays(keys))
        return {(entry.id or "", entry.event_id or ""): entry for entry in entries}

    def find_event(self, event_id: str) -> list[JournalEntry]:
        return self._journal("find_event", {"event_id": ids_array([event_id])})

    def _journal(self, query: str, arguments: Sequence[object] | dict[str, object]) -> list[JournalEntry]:
        with self._session() as session, session.pipeline(), session.transaction():
            session.execute(self._live["by_index"])
            rows = session.execute(self._live[query], arguments, binary=True)
            return [journal_entry(row) for row in rows]

    def trailing_rejects(self, topic_id: str, partition: int, limit: int) -> int:
        with self._session() as session:
            epoch = self._live.epoch(session, topic_id)
        bounds = version_of(epoch, 0), version_of(epoch + 1, 0)
        outcomes = [row[0] for row in self._rows("newest_outcomes", (partition, *bounds, limit))]
        return len(list(takewhile(Outcome.REJECTED.value.__eq__, outcomes)))

    def landing_runs(self) -> bool:
        return bool(self._rows("turn_is_taken", ("soma landing ",))[0][0])

    def stats(self) -> dict[str, Any]:
        namespaces = self._rows("count_namespaces")
        tombstones = self._rows("count_tombstones")[0][0]
        outcomes = dict(self._rows("count_outcomes"))
        return {
            "memories": sum(count for _, count, _ in namespaces),
            "namespaces": [{"namespace": name, "memories": count, "bytes": size} for name, count, size in namespaces],
            "tombstones": tombstones,
            "where": self._connections.where,
            "table_bytes": dict(self._rows("sizes")),
            "journal": {outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome},
        }

    def record_access(self, ids: Collection[str], instant: int) -> None:
        """In order of id, so that two that count the same memories don't wait for each other for ever."""
        times = sorted(Counter(filter(is_canonical_uuid, ids)).items())
        if not times:
            return
        counts = Bigints([count for _, count in times])
        with self._session() as session:
            session.execute(self._live["record_access"], (Instant(instant), ids_array(id for id, _ in times), counts))

    def access(self, ids: Collection[str]) -> dict[str, Access]:
        return {id: Access(last, count) for id, last, count in self._rows("access", (ids_array(ids),))}

    def shadow(self, topic_id: str) -> PostgresStoreShadow:
        with self._session():  # the tables are of this version
            pass
        return PostgresStoreShadow(self._connections, topic_id)

    def health(self, *, deep: bool = False) -> list[Finding]:
        try:
            with self._connections.use() as session:
                return store_health(session, self._live, self._connections.where, deep=deep)
        except SomaError as error:
            return [Finding("store server", "error", error.message, error.hint)]

    def close(self) -> None:
        self._connections.close()
