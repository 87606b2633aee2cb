"""What only PostgreSQL can do to a store: rights, schemas, locks, old and new tables, values that it refuses.

A server that goes away in the middle is in test_postgres_faults.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.errors import (
    ConfigurationError,
    EventRejected,
    OutOfSpace,
    ServiceUnavailable,
    SomaError,
    ValueRefused,
)
from soma_cli.core.memory import Entry
from soma_cli.core.ports import Batch, EntryRun, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.settings import StoreSettings
from tests.contracts.adapters import postgres_settings
from tests.contracts.events import TOPIC_ID, batch, event_value, raw_record, record, uid
from tests.contracts.processes import output, start

Open = Callable[..., PostgresMemoryStore]


@pytest.fixture
def settings(place: Path) -> StoreSettings:
    return postgres_settings(place)


@pytest.fixture
def opened(settings: StoreSettings) -> Iterator[Open]:
    """Open the store of this test's database again, or with other settings."""
    stores: list[PostgresMemoryStore] = []

    def open_again(*, one_shot: bool = False, **changes: object) -> PostgresMemoryStore:
        stores.append(PostgresMemoryStore(replace(settings, **changes), one_shot=one_shot))  # type: ignore[arg-type]
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> PostgresMemoryStore:
    store = opened()
    store.provision()
    store.register_topic(EVENTS_TOPIC, TOPIC_ID)
    return store


@pytest.fixture
def sql(settings: StoreSettings) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """An operator at the same database."""
    with psycopg.connect(settings.dsn or "", autocommit=True) as connection:

        def run(statement: str) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        yield run


Sql = Callable[[str], list[tuple[object, ...]]]

# --- tables ------------------------------------------------------------------------------------------------------


def test_opening_makes_nothing(opened: Open, sql: Sql) -> None:
    with pytest.raises(ConfigurationError) as refused:
        opened().positions(TOPIC_ID)
    assert (refused.value.code, "soma init" in refused.value.hint) == ("not_initialised", True)
    assert sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    assert [finding.status for finding in opened().health()] == ["ok", "ok", "error"]


def test_provision_says_what_it_made(opened: Open) -> None:
    tables = ["access", "epochs", "memories", "memory_events", "memory_landing", "positions"]
    assert opened().provision() == (tables, [], [])
    assert opened().provision() == ([], tables, [])


def test_provision_by_many_at_once(opened: Open) -> None:
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda store: store.provision(), [opened() for _ in range(6)]))
    assert sorted(len(item.created) for item in done) == [0, 0, 0, 0, 0, 6]
    assert opened().epochs(EVENTS_TOPIC) == {}


def test_tables_of_another_version(store: PostgresMemoryStore, opened: Open, sql: Sql) -> None:
    sql("INSERT INTO soma_schema (version) VALUES (99)")
    for use in (opened().stats, opened().provision):
        with pytest.raises(ConfigurationError, match="schema version 99") as newer:
            use()
        assert "upgrade soma" in newer.value.hint
    sql("DELETE FROM soma_schema")
    with pytest.raises(ConfigurationError) as older:
        opened().stats()
    assert older.value.code == "not_initialised"


def test_tables_that_vanish(store: PostgresMemoryStore, sql: Sql) -> None:
    sql("DROP TABLE memories")
    with pytest.raises(ConfigurationError, match="not there") as refused:
        store.apply(batch(record(0, 1)))
    assert refused.value.code == "not_initialised"


def test_everything_lies_in_the_schema_of_the_search_path(opened: Open, settings: StoreSettings, sql: Sql) -> None:
    sql("CREATE SCHEMA one; CREATE SCHEMA two")
    stores = [opened(dsn=f"{settings.dsn}?options=-c%20search_path%3D{schema}") for schema in ("one", "two")]
    for number, store in enumerate(stores):
        store.provision()
        store.register_topic(EVENTS_TOPIC, TOPIC_ID)
        store.apply(batch(record(0, number)))
    shadows = [store.shadow(TOPIC_ID) for store in stores]
    assert [[state.id for state in store.scan_states()] for store in stores] == [[uid(0)], [uid(1)]]
    shadows[0].apply(batch(record(0, 0)))
    shadows[0].swap(lambda positions: None)
    shadows[1].discard()
    assert sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    assert [[state.id for state in store.scan_states()] for store in stores] == [[uid(0)], [uid(1)]]


def test_people_can_read_the_tables(store: PostgresMemoryStore, sql: Sql) -> None:
    store.apply(batch(record(0, 1, payload={"text": "hello", "n": 1.5})))
    assert sql("SELECT payload ->> 'text', (payload -> 'n')::float8 FROM memories WHERE payload @> '{\"n\": 1.5}'") == [
        ("hello", 1.5)
    ]
    assert sql("SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM memories") == [
        (record(0, 1).appended_at,)
    ]


# --- settings ----------------------------------------------------------------------------------------------------


def test_a_dsn_that_is_none(settings: StoreSettings) -> None:
    for dsn in (None, "", "secret", "postgresql://u:secret@h:x y/?nonsense=1"):
        with pytest.raises(ConfigurationError, match=r"store\.dsn") as refused:
            PostgresMemoryStore(replace(settings, dsn=dsn))
        assert "secret" not in refused.value.message + refused.value.hint


def test_a_database_that_is_missing(opened: Open, settings: StoreSettings) -> None:
    dsn = (settings.dsn or "").rpartition("/")[0] + "/not_there"
    with pytest.raises(ConfigurationError, match="not_there") as refused:
        opened(dsn=dsn).stats()
    assert "store.dsn" in refused.value.message + refused.value.hint


def test_a_right_that_is_missing(store: PostgresMemoryStore, opened: Open, settings: StoreSettings, sql: Sql) -> None:
    role = f"reader_{os.urandom(4).hex()}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; GRANT UPDATE ON positions TO {role}")
    reader = opened(dsn=f"{settings.dsn}?user={role}&password=x")
    assert reader.positions(TOPIC_ID) == {}
    with pytest.raises(ConfigurationError, match="permission denied") as refused:
        reader.apply(batch(record(0, 1)))
    assert "store.dsn" in refused.value.message
    found = {finding.check: finding for finding in reader.health()}
    assert found["store rights"].status == "error"
    assert "INSERT on memories" in found["store rights"].message
    with pytest.raises(ConfigurationError, match="permission denied"):
        reader.shadow(TOPIC_ID)
    sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_server_that_is_read_only(store: PostgresMemoryStore, opened: Open, sql: Sql) -> None:
    name = sql("SELECT current_database()")[0][0]
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    reader = opened()
    assert reader.positions(TOPIC_ID) == {}
    with pytest.raises(ServiceUnavailable) as refused:
        reader.apply(batch(record(0, 1)))
    assert refused.value.code == "read_only"
    assert reader.health()[0].status == "error"


def connections(sql: Sql) -> object:
    ours = "datname = current_database() AND pid != pg_backend_pid() AND backend_type = 'client backend'"
    return sql(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")[0][0]


@pytest.mark.parametrize(("one_shot", "pool_size", "most"), [(True, 4, 1), (False, 3, 3)])
def test_connections_are_few_and_shared(
    store: PostgresMemoryStore, opened: Open, sql: Sql, one_shot: bool, pool_size: int, most: int
) -> None:
    store.close()
    client = opened(one_shot=one_shot, pool_size=pool_size)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.record_access([uid(number % 5), uid(3)], number), range(200)))
    assert sum(found.access_count for found in client.access([uid(number) for number in range(5)]).values()) == 400
    assert 1 <= int(str(connections(sql))) <= most
    client.close()


# --- values ------------------------------------------------------------------------------------------------------


def test_every_character_is_kept(store: PostgresMemoryStore) -> None:
    text = "".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x3000, 7), *range(0xFFF0, 0x10010), 0x10FFFF]))
    payload = {
        text[:5000]: text,
        "\u00e9": "e\u0301",
        "": [],
        "\\u0000": "\\",
        "n": [2**63, -(2**63), 2**64 - 1, 1e308],
    }
    event = record(0, 1, payload=payload, namespace=text, model_revision=text[:100], importance=2**63)
    store.apply(batch(event))
    state = store.states([uid(1)])[uid(1)]
    assert (state.payload, state.namespace, state.importance) == (payload, text, 2.0**63)
    assert list(state.payload) == list(payload)
    assert store.history(uid(1))[0].event == event.value
    assert [found.id for found in store.list_states(namespace=text, since=None, limit=5)] == [uid(1)]
    assert list(store.scan_states(namespace=text)) == [state]
    assert store.list_states(namespace=text[:-1], since=None, limit=5) == []


def test_a_batch_that_the_socket_does_not_take_at_once(store: PostgresMemoryStore) -> None:
    """psycopg's pipeline would wait for the answer to what it has not sent."""
    texts = {uid(number): f"{number} " * 5000 for number in range(500)}
    made = [record(number, number, payload={"text": texts[uid(number)]}) for number in range(500)]
    store.apply(batch(*made))
    assert {id: state.payload["text"] for id, state in store.states(texts).items()} == texts


def test_what_foreign_writers_append_has_its_row(store: PostgresMemoryStore) -> None:
    """jsonb refuses `\\u0000`; the journal takes the bytes all the same, and any note."""
    escaped = raw_record(0, uid(1).encode(), event_value(1, 1).replace(b"event 1", b"\\u0000 \\ud800"))
    refused = Entry(escaped, None, EventRejected("bad: \x00 and \ud800"))
    done = store.apply(Batch(TOPIC_ID, [EntryRun(0, 0, 1, [refused])]))
    assert [decision.outcome.value for decision in done.decisions] == ["rejected"]
    entry = store.history(uid(1))[0]
    assert (entry.event, entry.note) == (escaped.value, "bad: \\0 and \\ud800")


def test_a_value_that_the_server_refuses_refuses_the_batch(store: PostgresMemoryStore) -> None:
    good = batch(record(0, 1), record(1, 2))
    run = good.runs[0]
    event = run.entries[1].event
    assert event is not None
    for payload in ({"text": "\x00"}, {"text": "a\x00b"}):
        bad = run.entries[1]._replace(event=replace(event, payload=payload))
        with pytest.raises(ValueRefused):
            store.apply(Batch(TOPIC_ID, [run._replace(entries=[run.entries[0], bad])]))
        with pytest.raises(ValueRefused):
            store.apply(
                Batch(
                    TOPIC_ID,
                    [run._replace(entries=[run.entries[0]._replace(record=record(0, 1)._replace(appended_at=2**64))])],
                )
            )
        assert (store.positions(TOPIC_ID), list(store.scan_states(deleted=True))) == ({}, [])
    assert store.apply(good).positions == {0: 2}


def test_ids_that_are_none_are_not_found(store: PostgresMemoryStore) -> None:
    store.apply(batch(record(0, 1)))
    wrong = ["", "x", uid(1).upper().replace("0", "A", 1), "{" + uid(1) + "}", "\x00", "é" * 40]
    assert store.states(wrong) == store.access(wrong) == {}
    assert [store.history(id) or store.find_event(id) for id in wrong] == [[]] * len(wrong)
    assert store.first_positions([(id, uid(1)) for id in wrong]) == {}
    store.record_access(wrong, 5)
    assert store.list_states(namespace="\x01", since=-(2**80), limit=1) == []
    assert store.list_states(namespace=None, since=2**80, limit=1) == []


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", OutOfSpace),
        ("40001", ServiceUnavailable),
        ("40P01", ServiceUnavailable),
        ("57014", ServiceUnavailable),
        ("53200", ServiceUnavailable),
        ("58030", ServiceUnavailable),
        ("22003", ValueRefused),
        ("54000", ValueRefused),
        ("42501", ConfigurationError),
        ("P0001", SomaError),
    ],
)
def test_an_error_of_the_server_changes_nothing(
    store: PostgresMemoryStore, sql: Sql, sqlstate: str, kind: type[SomaError]
) -> None:
    """Raised by the server itself, for the journal's rows, when the memories are written already."""
    sql(f"CREATE FUNCTION fail() RETURNS trigger AS 'BEGIN RAISE SQLSTATE ''{sqlstate}''; END' LANGUAGE plpgsql")
    sql("CREATE TRIGGER fail BEFORE INSERT ON memory_events FOR EACH ROW EXECUTE FUNCTION fail()")
    with pytest.raises(SomaError) as raised:
        store.apply(batch(record(0, 1)))
    assert type(raised.value) is kind
    assert (store.positions(TOPIC_ID), store.states([uid(1)])) == ({}, {})
    sql("DROP FUNCTION fail CASCADE")
    assert store.apply(batch(record(0, 1))).positions == {0: 1}


# --- a rebuild beside it -----------------------------------------------------------------------------------------


def test_what_the_operator_added_survives_a_swap(store: PostgresMemoryStore, sql: Sql) -> None:
    role = f"reader_{os.urandom(4).hex()}"
    sql(f"CREATE ROLE {role}; GRANT SELECT ON memories TO {role}; GRANT SELECT ON memory_events TO PUBLIC")
    sql(f"GRANT SELECT (id, importance), UPDATE (importance) ON memories TO {role} WITH GRANT OPTION")
    sql("CREATE INDEX by_payload ON memories USING gin (payload)")
    tables = (
        "SELECT relname, relacl::text, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    rights = """SELECT relname, attname, attacl::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attacl IS NOT NULL ORDER BY 1, 2"""
    columns = """SELECT table_name, column_name, data_type, is_nullable, generation_expression
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"""
    constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1"
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    questions = (tables, rights, columns, constraints, indexes)
    before = [sql(question) for question in questions]
    store.apply(batch(record(0, 1)))
    for _ in range(2):
        shadow = store.shadow(TOPIC_ID)
        shadow.apply(batch(record(0, 1)))
        shadow.swap(lambda positions: None)
        assert [sql(question) for question in questions] == before
    sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_value_refused_while_a_swap_catches_up(store: PostgresMemoryStore) -> None:
    """Only that batch is undone, so that its records can be told apart; the swap goes on."""
    store.apply(batch(record(0, 1), record(1, 2)))
    shadow = store.shadow(TOPIC_ID)
    shadow.apply(batch(record(0, 1)))

    def follow(positions: dict[int, int]) -> None:
        entry = batch(record(1, 2)).runs[0].entries[0]
        assert entry.event is not None
        bad = entry._replace(event=replace(entry.event, payload={"text": "\x00"}))
        with pytest.raises(ValueRefused):
            shadow.apply(Batch(TOPIC_ID, [EntryRun(0, 1, 2, [bad])]))
        assert shadow.positions(TOPIC_ID) == {0: 1}
        shadow.apply(batch(record(1, 2)))

    shadow.swap(follow)
    assert store.positions(TOPIC_ID) == {0: 2}
    assert [state.id for state in store.scan_states()] == [uid(1), uid(2)]


def test_a_view_in_the_way_of_a_swap_is_named(store: PostgresMemoryStore, sql: Sql) -> None:
    sql("CREATE VIEW mine AS SELECT id FROM memories")
    store.apply(batch(record(0, 1)))
    shadow = store.shadow(TOPIC_ID)
    with pytest.raises(ConfigurationError, match="memories"):
        shadow.swap(lambda positions: [shadow.apply(batch(record(0, 2)))][0] and None)
    shadow.discard()
    assert [state.id for state in store.scan_states()] == [uid(1)]


DIE_IN_A_REBUILD = """
shadow = STORES[ADAPTER](PLACE).shadow(TOPIC_ID)
shadow.apply(batch(*(record(offset, offset) for offset in range(500))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_health_tells_of_a_rebuild_that_died(store: PostgresMemoryStore, place: Path) -> None:
    assert {finding.status for finding in store.health(deep=True)} == {"ok"}
    shadow = store.shadow(TOPIC_ID)
    assert "leftovers" not in [finding.check for finding in store.health()]
    shadow.discard()
    output(start(DIE_IN_A_REBUILD, "postgres", place), killed=True)
    wait_until(lambda: "leftovers" in [finding.check for finding in store.health()])
    store.shadow(TOPIC_ID).discard()
    assert "leftovers" not in [finding.check for finding in store.health()]


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_swaps_under_live_appliers_and_readers(store: PostgresMemoryStore, opened: Open) -> None:
    """Their prepared statements live on, no event is lost, and a reader sees the old tables or the new ones."""
    last, size = 600, 5
    records = [record(offset, offset % 40) for offset in range(last)]
    store.apply(batch(*records[:100]))

    def apply_all(client: MemoryStore) -> None:
        at = 100
        while at < last:
            at = client.apply(batch(*records[at : at + size])).positions[0]

    def read_all(client: MemoryStore) -> int:
        seen = 0
        while client.positions(TOPIC_ID)[0] < last:
            assert len(client.states([uid(number) for number in range(40)])) == 40
            assert client.journal_at(TOPIC_ID, [Position(EVENTS_TOPIC, 0, 99)])
            seen += 1
        return seen

    with ThreadPoolExecutor(4) as pool:
        appliers = [pool.submit(apply_all, opened()) for _ in range(2)]
        readers = [pool.submit(read_all, opened()) for _ in range(2)]
        for _ in range(3):
            shadow = store.shadow(TOPIC_ID)

            def follow(positions: dict[int, int], shadow=shadow) -> None:  # type: ignore[no-untyped-def]
                at = shadow.positions(TOPIC_ID).get(0, 0)
                if at < positions[0]:
                    shadow.apply(batch(*records[at : positions[0]]))

            follow(store.positions(TOPIC_ID))
            assert shadow.compare(follow).total == 0
            shadow.swap(follow)
        for task in appliers:
            task.result(timeout=60)
        assert all(task.result(timeout=60) for task in readers)
    assert store.stats()["journal"]["applied"] == last
    assert sorted(state.version for state in store.scan_states()) == list(range(last - 40, last))
