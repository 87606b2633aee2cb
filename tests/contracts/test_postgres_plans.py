"""What the server reads to look up a batch, also while it has counted nothing yet: a table that was just made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.adapters.memory_store.postgres_arrays import Bigints, Integers, adapt
from soma_cli.core.adapters.memory_store.postgres_rows import ids_array, keys_arrays
from soma_cli.core.adapters.memory_store.postgres_tables import Tables
from soma_cli.core.record import EVENTS_TOPIC
from tests.contracts.adapters import postgres_settings
from tests.contracts.events import TOPIC_ID, batch, record, uid

HELD, BATCH = 3000, 300


@pytest.fixture
def connection(place: Path) -> Iterator[psycopg.Connection]:
    """Tables with some thousand rows that were never analysed."""
    settings = postgres_settings(place)
    with (
        closing(PostgresMemoryStore(settings)) as store,
        psycopg.connect(settings.dsn or "", autocommit=True) as connection,
    ):
        adapt(connection)
        store.provision()
        connection.execute("ALTER TABLE memories SET (autovacuum_enabled = off)")
        connection.execute("ALTER TABLE memory_events SET (autovacuum_enabled = off)")
        store.register_topic(EVENTS_TOPIC, TOPIC_ID)
        for start in range(0, HELD, BATCH):
            store.apply(batch(*(record(number, number) for number in range(start, start + BATCH))))
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("states", (ids_array([uid(number) for number in range(BATCH)]),)),
        ("seen", keys_arrays([(uid(number), uid(1_000_000 + number)) for number in range(BATCH)])),
        ("first_positions", keys_arrays([(uid(number), uid(1_000_000 + number)) for number in range(BATCH)])),
        ("journal_at", (Integers([0] * BATCH), Bigints(list(range(BATCH))))),
    ],
)
def test_a_batch_reads_its_own_rows_only(
    connection: psycopg.Connection, query: str, arguments: Sequence[object]
) -> None:
    with connection.transaction():
        connection.execute(Tables()["by_index"])
        cursor = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + Tables()[query], arguments)
        (found,) = cursor.fetchone() or (None,)
    plan = found[0]["Plan"]
    read = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Join Filter", 0) + node.get("Rows Removed by Filter", 0))
        * node["Actual Loops"]
        for node in nodes(plan)
    )
    assert BATCH <= plan["Actual Rows"] * plan["Actual Loops"] <= read <= 5 * BATCH, plan
