"""A rebuild of the canonical tables beside the live ones, in the same schema.

The shadow has one connection, which holds the turn to rebuild: when its process dies, so does the turn, and what is
left are tables that nobody reads. Swapping is a handful of renames in one transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from operator import attrgetter

import psycopg

from soma_cli.core.adapters.memory_store.postgres_connections import Connections
from soma_cli.core.adapters.memory_store.postgres_errors import translated
from soma_cli.core.adapters.memory_store.postgres_rows import journal_entry, state_columns
from soma_cli.core.adapters.memory_store.postgres_tables import Tables
from soma_cli.core.adapters.memory_store.store_rules import folded
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.event import version_of
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Applied, Batch, Difference

_TABLES = ("positions", "memories", "memory_events")
_NEEDED_AT_ONCE = ("positions_pkey", "memories_pkey", "memory_events_first")
"""What folding itself looks up. The other indexes are quicker to build when the rows are there."""
_EXAMPLES = 10
_STOPPED_S = 60.0
_CHUNK = 1000
_BEGIN = """
SET synchronous_commit = off; SET work_mem = '64MB'; SET maintenance_work_mem = '256MB';
SET client_min_messages = warning
"""

CatchUp = Callable[[dict[int, int]], None]


class PostgresStoreShadow:
    """`StoreShadow` on PostgreSQL; one at a time in a schema."""

    def __init__(self, connections: Connections, topic_id: str) -> None:
        self._where = connections.where
        self._topic_id = topic_id
        self._live = Tables()
        self._made = Tables(f"shadow_{secrets.token_hex(4)}_")
        self._later: list[str] = []
        self._over = False
        with translated(self._where):
            self._session = connections.open(idle_s=_STOPPED_S)
            try:
                self._begin()
            except BaseException:
                self._close()
                raise

    def positions(self, topic_id: str) -> dict[int, int]:
        with translated(self._where):
            return self._made.positions(self._session, topic_id)

    def apply(self, batch: Batch) -> Applied:
        with translated(self._where):
            return self._made.apply(self._session, batch)

    def compare(self, catch_up: CatchUp) -> Difference:
        """Rows, journal and position of the live tables change together, so one snapshot of them is as good as
        holding the writers still."""
        with translated(self._where):
            self._finish()
            with self._session.transaction():
                self._session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                catch_up(self._live.positions(self._session, self._topic_id))
                self._session.execute("SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")
                return self._difference()

    def swap(self, catch_up: CatchUp) -> None:
        with translated(self._where):
            self._finish()
            for table in _TABLES:  # at once and in order, into the write-ahead log that folding was spared
                self._session.execute(f"ALTER TABLE {self._made.prefix}{table} SET LOGGED".encode())
            with self._session.transaction():
                self._session.execute("SET LOCAL synchronous_commit = on")
                self._session.execute(self._live["hold_writers"])
                catch_up(self._live.positions(self._session, self._topic_id))
                self._replace()
        self.discard()

    def discard(self) -> None:
        """Also after `swap`, when there is nothing left to discard; another rebuild may run by then."""
        if self._over:
            return
        # Where the server is away, the next rebuild finds the tables and drops them.
        with suppress(psycopg.Error):
            self._drop_leftovers()
            # The server would take a moment to see that the connection is gone, and would refuse the next rebuild.
            self._session.execute("SELECT pg_advisory_unlock_all()")
        self._close()

    def _close(self) -> None:
        self._over = True
        with suppress(psycopg.Error):
            self._session.close()

    def _begin(self) -> None:
        self._session.execute(_BEGIN)
        turn = self._session.execute(self._live["rebuild_turn"]).fetchone()
        if not (turn and turn[0]):
            raise ServiceUnavailable(
                "another rebuild of kv is running", hint="wait for it to end, then try again", code="rebuild_running"
            )
        self._drop_leftovers()
        with self._session.transaction():
            self._create()
            self._begin_with_earlier_epochs()

    def _drop_leftovers(self) -> None:
        for (table,) in self._session.execute(self._live["leftovers"]).fetchall():
            self._session.execute(f"DROP TABLE IF EXISTS {table}".encode())

    def _create(self) -> None:
        """Tables like the live ones, and of their indexes those that folding needs.

        Until the swap nothing of them is written ahead: a server that crashes has ended the rebuild anyway.
        """
        for table in _TABLES:
            like = f"CREATE UNLOGGED TABLE {self._made.prefix}{table} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)"
            self._session.execute(like.encode())
        for name, statement in self._indexes():
            if name in _NEEDED_AT_ONCE:
                self._session.execute(statement.encode())
            else:
                self._later.append(statement)

    def _indexes(self) -> Iterator[tuple[str, str]]:
        """Name of a live index, and the statement that makes its like on the shadow; the operator's own among them."""
        prefix = self._made.prefix
        for table, name, definition in self._session.execute(self._live["constraints"]).fetchall():
            yield name, f'ALTER TABLE {prefix}{table} ADD CONSTRAINT "{prefix}{name}" {definition}'
        for table, name, unique, definition in self._session.execute(self._live["indexes"]).fetchall():
            kind = "UNIQUE INDEX" if unique else "INDEX"
            how = definition.partition(" USING ")[2]
            yield name, f'CREATE {kind} "{prefix}{name}" ON {prefix}{table} USING {how}'

    def _begin_with_earlier_epochs(self) -> None:
        """A log that was replaced took its events with it; the journal still has them, so the fold goes on there."""
        first = version_of(self._live.epoch(self._session, self._topic_id), 0)
        if first == 0:
            return
        self._session.execute(self._made["keep_journal"], (first,))
        self._session.execute(self._made["keep_positions"], (self._topic_id,))
        with self._session.cursor(name="applied", binary=True) as rows:
            rows.execute(self._made["applied"])
            states = (folded(entries) for _, entries in groupby(map(journal_entry, rows), attrgetter("id")))
            for chunk in _chunks(states):
                self._session.execute(self._made["upsert_memories"], state_columns(chunk))

    def _finish(self) -> None:
        """Build the indexes that waited, and tell the planner what there is."""
        while self._later:
            self._session.execute(self._later[0].encode())
            del self._later[0]
        for table in _TABLES:
            self._session.execute(f"ANALYZE {self._made.prefix}{table}".encode())

    def _difference(self) -> Difference:
        counts, examples = {}, {}
        for kind in ("missing", "extra", "different"):
            rows = self._session.execute(self._made[kind], (_EXAMPLES,), binary=True).fetchall()
            counts[kind], examples[kind] = rows[0][1] if rows else 0, [row[0] for row in rows]
        first = version_of(self._live.epoch(self._session, self._topic_id), 0)
        compared = self._count("compared", ())
        journal = self._count("journal_different", (first,))
        return Difference(compared, counts["missing"], counts["extra"], counts["different"], journal, examples)

    def _count(self, query: str, arguments: tuple[object, ...]) -> int:
        row = self._session.execute(self._made[query], arguments).fetchone()
        assert row is not None
        return int(row[0])

    def _replace(self) -> None:
        """Within the transaction that holds the writers: rights, then names, of tables and of indexes."""
        names = [name for name, _ in self._indexes()]
        for query in ("grants", "owners"):
            for _, statement in self._session.execute(self._made[query]).fetchall():
                self._session.execute(statement.encode())
        prefix = self._made.prefix
        for table in _TABLES:
            self._session.execute(f"DROP TABLE {table}".encode())
            self._session.execute(f"ALTER TABLE {prefix}{table} RENAME TO {table}".encode())
        for name in names:
            self._session.execute(f'ALTER INDEX IF EXISTS "{prefix}{name}" RENAME TO "{name}"'.encode())


def _chunks(states: Iterable[MemoryState]) -> Iterator[list[MemoryState]]:
    states = iter(states)
    while chunk := list(islice(states, _CHUNK)):
        yield chunk
