"""The baseline's PostgreSQL: the rows that soma writes, into soma's own tables, with the guard and without the fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg.sql import SQL, Identifier

from soma_cli.bench.cluster import bare_statements as sql
from soma_cli.core.settings import Settings


class Place(NamedTuple):
    """Where an event came from, and when it was appended in milliseconds."""

    partition: int
    offset: int
    appended_ms: int


Source = tuple[Place, dict[str, Any], bytes]
"""An event's place, its document and its JSON."""


class BareTables:
    """soma's own empty tables, written without soma. Events must be of new memories."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._indexes: list[tuple[str, str]] = []

    def write(self, events: Sequence[Source]) -> None:
        """Three statements in one transaction, sent together."""
        at = [_instant(place) for place, _, _ in events]
        versions = [place.offset for place, _, _ in events]
        ids = [document["id"] for _, document, _ in events]
        event_ids = [document["event_id"] for _, document, _ in events]
        payloads = [orjson.dumps(document["payload"]).decode() for _, document, _ in events]
        namespaces = [document["namespace"] for _, document, _ in events]
        partitions = [place.partition for place, _, _ in events]
        types = [document["type"] for _, document, _ in events]
        texts = [value.decode() for _, _, value in events]
        ends = {place.partition: place.offset + 1 for place, _, _ in events}
        with self._connection.pipeline(), self._connection.transaction():
            execute = self._connection.execute
            execute(sql.MANY_MEMORIES, (ids, namespaces, payloads, at, versions, event_ids))
            execute(sql.MANY_EVENTS, (versions, partitions, ids, event_ids, types, at, texts))
            execute(sql.MANY_POSITIONS, (list(ends), list(ends.values())))

    def write_one(self, event: Source) -> None:
        """Row, journal and position, a statement each, committed together."""
        (partition, offset, _), document, value = event
        at, id, event_id = _instant(event[0]), document["id"], document["event_id"]
        payload = orjson.dumps(document["payload"]).decode()
        with self._connection.transaction():
            execute = self._connection.execute
            execute(sql.ONE_MEMORY, (id, document["namespace"], payload, at, at, offset, event_id))
            execute(sql.ONE_EVENT, (offset, partition, id, event_id, document["type"], at, value.decode()))
            execute(sql.ONE_POSITION, (partition, offset + 1))

    def prepare_copy(self) -> None:
        """Rows that are not written ahead, and no index that waits for its end."""
        for table in sql.TABLES:
            self._connection.execute(f"ALTER TABLE {table} SET UNLOGGED")
        self._indexes = self._connection.execute(sql.INDEXES, (list(sql.TABLES), "%pkey")).fetchall()
        for name, _ in self._indexes:
            self._connection.execute(SQL("DROP INDEX {}").format(Identifier(name)))

    def finish_copy(self) -> None:
        """The indexes, and the tables as they were."""
        for _, definition in self._indexes:
            self._connection.execute(definition)
        for table in sql.TABLES:
            self._connection.execute(f"ALTER TABLE {table} SET LOGGED")

    def copy(self, events: Sequence[Source]) -> None:
        """By COPY, which knows no guard."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(sql.COPY_MEMORIES) as rows:
                for place, document, _ in events:
                    at, payload = _instant(place), orjson.dumps(document["payload"]).decode()
                    id, event_id, namespace = document["id"], document["event_id"], document["namespace"]
                    rows.write_row((id, namespace, payload, 1.0, at, at, place.offset, event_id, None, False))
            with cursor.copy(sql.COPY_EVENTS) as rows:
                for place, document, value in events:
                    at, id, event_id = _instant(place), document["id"], document["event_id"]
                    row = (place.offset, place.partition, id, event_id, document["type"], at, at, "applied", "", value)
                    rows.write_row((*row[:-1], value.decode()))


def _instant(place: Place) -> datetime:
    return datetime.fromtimestamp(place.appended_ms / 1000, UTC)


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(settings.store.dsn or "", autocommit=True) as connection:
        yield connection
