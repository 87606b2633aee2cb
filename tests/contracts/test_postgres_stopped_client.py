"""A worker that is stopped while PostgreSQL writes its batch, as a process that is paused or a machine that swaps."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC
from tests.contracts.adapters import postgres_settings
from tests.contracts.events import TOPIC_ID, batch, record
from tests.contracts.processes import start, until

WRITES_S = 1
HELD_UP_S = 20.0
"""Twice as long as a transaction may stand still with the settings of the tests."""
_APPLY = """
store = STORES[ADAPTER](PLACE)
store.apply(batch(record(0, 1), record(1, 2)))
"""


@pytest.fixture
def dsn(place: Path) -> str:
    settings = postgres_settings(place)
    with closing(PostgresMemoryStore(settings)) as store:
        store.provision()
        store.register_topic(EVENTS_TOPIC, TOPIC_ID)
    return settings.dsn or ""


@pytest.mark.parametrize("table", ["memories", "memory_events", "positions"])
def test_it_holds_up_the_others_for_seconds_only(place: Path, dsn: str, table: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_sleep({WRITES_S}); RETURN NEW; END $$"
        )
        event = "UPDATE" if table == "positions" else "INSERT"
        connection.execute(f"CREATE TRIGGER slowly BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION slowly()")
        first = start(_APPLY, "postgres", place)
        try:
            _wait_until_it_writes(connection, first)
            first.send_signal(signal.SIGSTOP)
            with closing(PostgresMemoryStore(postgres_settings(place))) as store:
                assert _applied(store)
            first.send_signal(signal.SIGCONT)
            assert "ServiceUnavailable" in first.communicate(timeout=60)[1]
            assert first.returncode == 1
        finally:
            first.kill()
            first.wait()


def _applied(store: PostgresMemoryStore) -> bool:
    """As a worker does it: again and again."""
    deadline = time.monotonic() + HELD_UP_S
    while time.monotonic() < deadline:
        with suppress(ServiceUnavailable):
            return len(store.apply(batch(record(0, 1), record(1, 2))).decisions) == 2
    return False


def _wait_until_it_writes(connection: psycopg.Connection, process: subprocess.Popen[str]) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"

    def writes() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return connection.execute(query).fetchone() != (0,)

    until(writes)
