"""The landing table, filled as Kafka Connect fills it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from soma_cli.core.adapters.memory_store import postgres_landing
from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.adapters.memory_store.postgres_landing import PostgresLanding
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.settings import StoreSettings
from tests.e2e.conftest import wait_until
from tests.services import PostgresServer, new_database, postgres_dsn

TOPIC, TOPIC_ID = "t.memory.events", "the-id"
APPENDED_AT = 1_767_225_600_123_000


@pytest.fixture
def settings() -> StoreSettings:
    made = StoreSettings(kind="postgres", dsn=postgres_dsn(), timeout_s=5.0)
    store = PostgresMemoryStore(made)
    store.provision()
    store.close()
    return made


@pytest.fixture
def landing(settings: StoreSettings) -> Iterator[PostgresLanding]:
    opened = PostgresLanding(settings, TOPIC)
    yield opened
    opened.close()


def land(
    settings: StoreSettings, *places: tuple[int, int], topic_id: str = TOPIC_ID, value: bytes | None = b"v"
) -> None:
    with psycopg.connect(settings.dsn or "") as connection:
        for partition, offset in places:
            connection.execute(
                "INSERT INTO memory_landing VALUES (%s, %s, %s, %s, to_timestamp(%s / 1000000.0), %s, %s)",
                (TOPIC, partition, offset, topic_id, APPENDED_AT, f"{offset}".encode(), value),
            )


def offsets(found: dict[int, list[Record]]) -> dict[int, list[int]]:
    return {partition: [record.offset for record in records] for partition, records in found.items()}


def test_records_come_in_order_from_the_positions_on(settings: StoreSettings, landing: PostgresLanding) -> None:
    land(settings, (1, 7), (0, 3), (0, 2), (0, 1), (1, 6), (2, 0))
    found = landing.landed(TOPIC_ID, {0: 2, 1: 0}, 10)
    assert offsets(found) == {0: [2, 3], 1: [6, 7]}
    assert found[0][0] == Record(EVENTS_TOPIC, 0, 2, APPENDED_AT, b"2", b"v", ())


def test_the_limit_holds_for_all_and_the_first_partitions_come_first(
    settings: StoreSettings, landing: PostgresLanding
) -> None:
    land(settings, *((partition, offset) for partition in (0, 1) for offset in range(5)))
    assert offsets(landing.landed(TOPIC_ID, {1: 0, 0: 0}, 7)) == {1: [0, 1, 2, 3, 4], 0: [0, 1]}


def test_large_records_are_taken_a_few_at_a_time(
    settings: StoreSettings, landing: PostgresLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_landing, "_BYTES", 1000)
    land(settings, *((0, offset) for offset in range(9)), value=b"x" * 400)
    assert offsets(landing.landed(TOPIC_ID, {0: 0}, 100)) == {0: [0, 1, 2]}
    land(settings, (1, 0), (1, 1), value=b"x" * 5000)
    assert offsets(landing.landed(TOPIC_ID, {1: 0}, 100)) == {1: [0]}


def test_rows_of_another_incarnation_are_not_seen(settings: StoreSettings, landing: PostgresLanding) -> None:
    land(settings, (0, 0), (0, 2), topic_id="an older one")
    land(settings, (0, 1), value=None)
    assert offsets(landing.landed(TOPIC_ID, {0: 0}, 10)) == {0: [1]}
    assert landing.waiting(TOPIC_ID, {0: 0})[0] == 1


def test_what_lies_before_the_positions_is_cleared(settings: StoreSettings, landing: PostgresLanding) -> None:
    land(settings, *((partition, offset) for partition in (0, 1) for offset in range(4)))
    landing.clear({0: 3, 1: 0})
    assert offsets(landing.landed(TOPIC_ID, {0: 0, 1: 0}, 10)) == {0: [3], 1: [0, 1, 2, 3]}
    count, since = landing.waiting(TOPIC_ID, {0: 0, 1: 2})
    assert count == 3
    assert since is not None
    assert landing.waiting(TOPIC_ID, {0: 4, 1: 4}) == (0, None)


def test_so_many_rows_are_cleared_at_a_time_the_oldest_first(
    settings: StoreSettings, landing: PostgresLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_landing, "_CLEARED", 3)
    land(settings, *((partition, offset) for partition in (0, 1) for offset in (4, 3, 2, 1, 0)))
    landing.clear({0: 5, 1: 2})
    assert offsets(landing.landed(TOPIC_ID, {0: 0, 1: 0}, 10)) == {0: [3, 4], 1: [2, 3, 4]}
    landing.clear({0: 5, 1: 2})
    assert offsets(landing.landed(TOPIC_ID, {0: 0}, 10)) == {}


def test_the_hold_of_one_that_asks_for_nothing_goes_to_another(settings: StoreSettings) -> None:
    first, second = (PostgresLanding(settings, TOPIC, missed_s=missed_s) for missed_s in (1.0, 60.0))
    try:
        assert first.hold()
        wait_until(second.hold, "the hold of one that hangs")
        with pytest.raises(ServiceUnavailable):
            first.landed(TOPIC_ID, {0: 0}, 10)
        assert not first.hold()
    finally:
        first.close()
        second.close()


def test_a_machine_that_is_gone_is_missed_by_the_server(settings: StoreSettings) -> None:
    landing = PostgresLanding(settings, TOPIC, missed_s=60.0)
    found = landing._on_session(
        lambda session: [
            session.execute(f"SHOW {name}".encode()).fetchone()
            for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        ]
    )
    landing.close()
    assert found == [("30",), ("10",), ("3",), ("60000",)]


def test_a_row_that_is_being_written_again_is_cleared_the_next_time(
    settings: StoreSettings, landing: PostgresLanding
) -> None:
    land(settings, (0, 0), (0, 1))
    with psycopg.connect(settings.dsn or "") as connection:
        connection.execute("UPDATE memory_landing SET value = 'again' WHERE __connect_offset = 0")
        landing.clear({0: 2})
        assert offsets(landing.landed(TOPIC_ID, {0: 0}, 10)) == {0: [0]}
    landing.clear({0: 2})
    assert landing.landed(TOPIC_ID, {0: 0}, 10) == {}


def test_one_holds_it_until_it_is_gone(settings: StoreSettings, landing: PostgresLanding) -> None:
    other, store = PostgresLanding(settings, TOPIC), PostgresMemoryStore(settings)
    try:
        other.waiting(TOPIC_ID, {0: 0})  # looking is not holding
        assert not store.landing_runs()
        assert [landing.hold(), landing.hold(), other.hold()] == [True, True, False]
        assert store.landing_runs()
        landing.close()
        wait_until(lambda: not store.landing_runs(), "that nobody holds it")
        wait_until(other.hold, "the hold")  # the server notices the end of a connection a moment later
        assert not landing.hold()
    finally:
        other.close()
        store.close()


def test_a_server_that_was_away_is_found_again_and_the_hold_with_it() -> None:
    with PostgresServer() as server:
        settings = StoreSettings(kind="postgres", dsn=new_database(server.address), timeout_s=5.0)
        store = PostgresMemoryStore(settings)
        store.provision()
        store.close()
        landing = PostgresLanding(settings, TOPIC)
        assert landing.hold()
        server.kill()
        with pytest.raises(ServiceUnavailable):
            landing.landed(TOPIC_ID, {0: 0}, 10)
        server.start()
        assert landing.hold()
        landing.close()


def test_a_store_without_the_table_wants_init() -> None:
    landing = PostgresLanding(StoreSettings(kind="postgres", dsn=postgres_dsn(), timeout_s=5.0), TOPIC)
    with pytest.raises(ConfigurationError) as refused:
        landing.hold()
    assert "soma init" in refused.value.hint
    landing.close()
