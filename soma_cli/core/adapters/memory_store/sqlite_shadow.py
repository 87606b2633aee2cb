"""A rebuild of the canonical tables beside the live ones, in the same file.

The shadow tables are made from the live tables' own definitions, under a prefix of their own. Swapping is a handful
of renames in one transaction, which every reader of the file sees at once or not at all.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from filelock import FileLock, Timeout

from soma_cli.core.adapters.memory_store.sqlite_tables import Tables, journal_entry, row_of
from soma_cli.core.adapters.memory_store.store_rules import folded
from soma_cli.core.adapters.sqlite import Database
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.event import version_of
from soma_cli.core.ports import Applied, Batch, Difference

_TABLES = ("positions", "memories", "memory_events")
_EXAMPLES = 10

CatchUp = Callable[[dict[int, int]], None]


class SqliteStoreShadow:
    """`StoreShadow` on SQLite; one at a time in a data folder."""

    def __init__(self, database: Database, topic_id: str, lock_file: Path) -> None:
        self._database = database
        self._topic_id = topic_id
        self._live = Tables()
        self._made = Tables(f"shadow_{secrets.token_hex(4)}_")
        self._lock = FileLock(lock_file, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ServiceUnavailable(
                "another rebuild of kv is running", hint="wait for it to end, then try again", code="rebuild_running"
            ) from None
        self._drop_leftovers()
        self._create()

    def positions(self, topic_id: str) -> dict[int, int]:
        with self._database.reading() as connection:
            return self._made.positions(connection, topic_id)

    def apply(self, batch: Batch) -> Applied:
        with self._database.writing() as connection:
            return self._made.apply(connection, batch)

    def compare(self, catch_up: CatchUp) -> Difference:
        with self._database.writing() as connection:
            catch_up(self._live.positions(connection, self._topic_id))
            return self._difference(connection)

    def swap(self, catch_up: CatchUp) -> None:
        with self._database.writing() as connection:
            catch_up(self._live.positions(connection, self._topic_id))
            for table in _TABLES:
                connection.execute(f"ALTER TABLE {table} RENAME TO old_{self._made.prefix}{table}")
                connection.execute(f"ALTER TABLE {self._made.prefix}{table} RENAME TO {table}")
        self.discard()

    def discard(self) -> None:
        """Also after `swap`, when there is nothing left to discard; another rebuild may run by then."""
        if not self._lock.is_locked:
            return
        self._drop_leftovers()
        self._lock.release()

    def _drop_leftovers(self) -> None:
        with self._database.reading() as connection:
            tables = [row[0] for row in connection.execute(self._live["tables"])]
        for table in tables:
            with self._database.writing() as connection:
                connection.execute(f'DROP TABLE IF EXISTS "{table}"')

    def _create(self) -> None:
        """Copy the definitions of the live tables and their indexes under the shadow's prefix."""
        with self._database.writing() as connection:
            for kind, name, table, sql in connection.execute(self._live["definitions"]).fetchall():
                connection.execute(_renamed(sql, kind, name, table, self._made.prefix))
            self._begin_with_earlier_epochs(connection)

    def _begin_with_earlier_epochs(self, connection: sqlite3.Connection) -> None:
        """A log that was replaced took its events with it; the journal still has them, so the fold goes on there."""
        first = version_of(self._live.epoch(connection, self._topic_id), 0)
        if first == 0:
            return
        connection.execute(self._made["keep_journal"], (first,))
        connection.execute(self._made["keep_positions"], (self._topic_id,))
        applied = map(journal_entry, connection.execute(self._made["applied"]))
        for _, entries in groupby(applied, attrgetter("id")):
            connection.execute(self._made["upsert_memory"], row_of(folded(entries)))

    def _difference(self, connection: sqlite3.Connection) -> Difference:
        counts, examples = {}, {}
        for kind in ("missing", "extra", "different"):
            ids = [row[0] for row in connection.execute(self._made[kind])]
            counts[kind], examples[kind] = len(ids), ids[:_EXAMPLES]
        compared = connection.execute(self._made["compared"]).fetchone()[0]
        journal = connection.execute(self._made["journal_different"], (self._topic_id,)).fetchone()[0]
        return Difference(compared, counts["missing"], counts["extra"], counts["different"], journal, examples)


def _renamed(sql: str, kind: str, name: str, table: str, prefix: str) -> str:
    """The definition with table and index names prefixed. An index that a shadow brought drops its old prefix."""
    body = re.sub(rf'\b(TABLE|ON)(\s+)"?{re.escape(table)}"?', rf"\1\2{prefix}{table}", sql, count=1)
    if kind == "table":
        return body
    bare = re.sub(r"^shadow_[0-9a-f]+_", "", name)
    return re.sub(rf'\bINDEX(\s+)"?{re.escape(name)}"?', rf"INDEX\1{prefix}{bare}", body, count=1)
