"""`memory_landing`: what Kafka Connect wrote of the events' topic, read in log order and cleared once it is applied."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import psycopg

from soma_cli.core.adapters.memory_store.postgres_arrays import Bigints, Integers
from soma_cli.core.adapters.memory_store.postgres_connections import Connections, Session
from soma_cli.core.adapters.memory_store.postgres_errors import translated
from soma_cli.core.adapters.memory_store.postgres_migrations import check_schema
from soma_cli.core.adapters.memory_store.postgres_tables import SQL
from soma_cli.core.adapters.named_queries import named_queries
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.settings import StoreSettings

T = TypeVar("T")
_BYTES = 8_000_000
"""Of one partition at a time, so that a batch of the largest events still fits into memory."""
_CLEARED = 10_000
"""Rows of one partition that are dropped at a time."""
_PROBES = 3
_STATEMENTS = 6
"""How many times the timeout one statement may take."""


class PostgresLanding:
    """`Landing` in PostgreSQL, over one connection of its own; `source_topic` is the topic's name on the brokers.
    The hold of a process that asks for nothing for `missed_s`, or that cannot be reached, goes to another.

    Safe with several threads, which take turns.
    """

    def __init__(self, settings: StoreSettings, source_topic: str, missed_s: float = 45.0) -> None:
        self._connections = Connections(settings, 1)
        self._timeout_s = settings.timeout_s
        self._topic, self._missed_s = source_topic, missed_s
        self._queries = named_queries(SQL / "landing.sql")
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._holds = False

    def hold(self) -> bool:
        """The hold goes with the connection."""

        def ask(session: Session) -> bool:
            if not self._holds:
                row = session.execute(self._query("hold")).fetchone()
                self._holds = bool(row and row[0])
            return self._holds

        return self._on_session(ask)

    def schema(self) -> str:
        row = self._on_session(lambda session: session.execute(self._query("schema")).fetchone())
        assert row is not None
        return str(row[0])

    def landed(self, topic_id: str, positions: Mapping[int, int], limit: int) -> dict[int, list[Record]]:
        asked = Integers(list(positions)), Bigints(list(positions.values()))
        arguments = (*asked, self._topic, topic_id, limit, _BYTES, limit)
        found: dict[int, list[Record]] = defaultdict(list)
        for partition, offset, appended_at, key, value in self._on_session(
            lambda session: session.execute(self._query("landed"), arguments, binary=True).fetchall()
        ):
            found[partition].append(Record(EVENTS_TOPIC, partition, offset, appended_at, key, value))
        return {partition: sorted(records, key=_offset) for partition, records in found.items()}

    def clear(self, positions: Mapping[int, int]) -> None:
        def delete(session: Session) -> None:
            with session.pipeline():
                for partition, position in positions.items():
                    session.execute(self._query("clear"), (self._topic, partition, position, _CLEARED))

        self._on_session(delete)

    def waiting(self, topic_id: str, positions: Mapping[int, int]) -> tuple[int, int | None]:
        asked = Integers(list(positions)), Bigints(list(positions.values()))
        arguments = (*asked, self._topic, topic_id)
        row = self._on_session(
            lambda session: session.execute(self._query("waiting"), arguments, binary=True).fetchone()
        )
        assert row is not None
        return row[0], row[1]

    def close(self) -> None:
        with self._guard:
            self._let_go()

    def _query(self, name: str) -> bytes:
        return self._queries[name].encode()

    def _on_session(self, action: Callable[[Session], T]) -> T:
        """Opened when it is needed; where something went wrong, it is not trusted any more."""
        with self._guard, translated(self._connections.where):
            try:
                if self._session is None:
                    self._session = self._connections.open(statement_s=_STATEMENTS * self._timeout_s)
                    check_schema(self._session, self._connections.where)
                    self._session.execute(self._query("missed"), (self._limits(),))
                return action(self._session)
            except BaseException:
                self._let_go()
                raise

    def _limits(self) -> list[str]:
        """Probes begin at half of the time, and have the other half."""
        half_s, missed_ms = self._missed_s / 2, int(self._missed_s * 1000)
        probes_s = max(1, int(half_s)), max(1, int(half_s / _PROBES))
        return [str(number) for number in (*probes_s, _PROBES, missed_ms, missed_ms)]

    def _let_go(self) -> None:
        session, self._session, self._holds = self._session, None, False
        if session is not None:
            with suppress(psycopg.Error):
                session.close()


def _offset(record: Record) -> int:
    return record.offset
