"""What the Connect path made, beside what `consume kv` makes of the same topic in another database."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.e2e.cluster_connect.installation import Landed
from tests.services import new_database

TABLES = {
    "memories": "SELECT * FROM memories ORDER BY id",
    "journal": (
        "SELECT version, partition, id, event_id, type, appended_at, outcome, note, event FROM memory_events "
        "ORDER BY partition, version"
    ),
    "positions": "SELECT * FROM positions ORDER BY topic_id, partition",
}


def check_same_as_kv(landed: Landed) -> dict[str, int]:
    """Row for row; how many rows each table has."""
    other = new_database(landed.dsn)
    ours = _tables(landed.dsn)
    before = landed.dsn
    landed.choose(store__dsn=other)
    try:
        assert landed.run("init").returncode == 0
        landed.run_to_end("kv")
    finally:
        landed.choose(store__dsn=before)
    theirs = _tables(other)
    for name in TABLES:
        wrong = [pair for pair in zip(ours[name], theirs[name], strict=False) if pair[0] != pair[1]]
        assert not wrong, f"{name}: {wrong[0][0]} instead of {wrong[0][1]}"
        assert len(ours[name]) == len(theirs[name]), name
    return {name: len(rows) for name, rows in ours.items()}


def _tables(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {name: connection.execute(query).fetchall() for name, query in TABLES.items()}
