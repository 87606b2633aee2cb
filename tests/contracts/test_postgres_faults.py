"""A PostgreSQL that stops, dies, hangs or refuses in the middle, and workers that do."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.memory import Entry, decide
from soma_cli.core.ports import Applied, Batch, EntryRun, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.settings import StoreSettings
from tests.contracts.adapters import postgres_settings
from tests.contracts.events import TOPIC_ID, batch, entries_of, record, uid
from tests.services import PostgresServer, new_database

SECRET = "s3cret-w0rd"
Open = Callable[..., PostgresMemoryStore]


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer(password=SECRET) as server:
        yield server


@pytest.fixture
def server(own_server: PostgresServer) -> PostgresServer:
    """Running, whatever the last test did to it."""
    own_server.start()
    return own_server


@pytest.fixture
def opened() -> Iterator[Callable[..., PostgresMemoryStore]]:
    stores: list[PostgresMemoryStore] = []

    def open_store(dsn: str | None, *, one_shot: bool = False, timeout_s: float = 10.0) -> PostgresMemoryStore:
        settings = StoreSettings(kind="postgres", dsn=dsn, timeout_s=timeout_s)
        stores.append(PostgresMemoryStore(settings, one_shot=one_shot))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def prepared(store: PostgresMemoryStore) -> PostgresMemoryStore:
    store.provision()
    store.register_topic(EVENTS_TOPIC, TOPIC_ID)
    return store


# --- the server --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_shot", [True, False])
def test_a_restart_in_the_middle(server: PostgresServer, opened: Open, one_shot: bool) -> None:
    store = prepared(opened(new_database(server.address), one_shot=one_shot))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.stats(), range(8)))
    store.apply(batch(record(0, 1)))
    server.stop()
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1") as away:
            store.apply(batch(record(1, 1, 1, "updated")))
        assert "store.dsn" in away.value.hint
    assert [finding.status for finding in store.health()] == ["error"]
    server.start()
    assert store.apply(batch(record(1, 1, 1, "updated"))).positions == {0: 2}
    with ThreadPoolExecutor(4) as pool:
        assert {found["memories"] for found in pool.map(lambda _: store.stats(), range(8))} == {1}


def test_a_call_that_finds_dead_connections_is_the_only_one(server: PostgresServer, opened: Open) -> None:
    store = prepared(opened(new_database(server.address)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.stats(), range(20)))
    server.stop()
    server.start()
    with pytest.raises(ServiceUnavailable):
        store.positions(TOPIC_ID)
    assert [store.positions(TOPIC_ID) for _ in range(4)] == [{}] * 4


def test_a_server_that_is_killed_while_it_applies(server: PostgresServer, opened: Open) -> None:
    """What was acknowledged is there; what was not is there wholly or not at all; the retry settles it."""
    dsn = new_database(server.address)
    store = prepared(opened(dsn))
    records = [record(offset, offset % 50, offset - offset % 3) for offset in range(1500)]
    done: list[int] = []
    failures: list[ServiceUnavailable] = []

    def apply_all() -> None:
        at = 0
        while at < len(records):
            try:
                at = store.apply(batch(*records[at : at + 20])).positions[0]
            except ServiceUnavailable as error:
                failures.append(error)
                restarted.wait(30)
            done.append(at)

    for number in range(2):
        restarted = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            worker = pool.submit(apply_all)
            goal = 20 + 20 * number
            while len(done) < goal and not worker.done():
                time.sleep(0.001)
            server.kill()
            acknowledged = done[-1]
            server.start()
            restarted.set()
            assert opened(dsn).positions(TOPIC_ID)[0] >= acknowledged
            worker.result(timeout=60)
    assert failures
    same_as_the_fold(opened(dsn), records)


def same_as_the_fold(store: MemoryStore, records: Sequence[Record]) -> None:
    states: dict[str, object] = {}
    made = decide(entries_of(records), epoch=0, states=states, seen=set())  # type: ignore[arg-type]
    assert {state.id: state for state in store.scan_states(deleted=True)} == states
    found = store.journal_at(TOPIC_ID, [item.position for item in records])
    assert [found[item.position].outcome for item in records] == [decision.outcome for decision in made]
    assert sum(store.stats()["journal"].values()) == len(records)


def test_a_wrong_password(server: PostgresServer, opened: Open) -> None:
    dsn = new_database(server.address)
    for wrong in (dsn.replace(SECRET, "wr0ng-w0rd"), dsn.replace(f":{SECRET}", ""), dsn.replace("soma:", "nobody:")):
        with pytest.raises(ConfigurationError) as refused:
            opened(wrong).stats()
        said = refused.value.message + refused.value.hint
        assert "store.dsn" in said
        assert SECRET not in said
        assert "wr0ng-w0rd" not in said


def test_no_server_at_the_address(opened: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match=rf"127\.0\.0\.1:{port}/soma"):
            opened(f"postgresql://u:{SECRET}@127.0.0.1:{port}/soma").stats()
    with pytest.raises(ServiceUnavailable, match=r"host\.invalid:5432"):
        opened("postgresql://host.invalid/soma").stats()


@pytest.mark.parametrize("one_shot", [True, False])
def test_a_proxy_that_never_answers(opened: Open, one_shot: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = opened(f"postgresql://u:{SECRET}@127.0.0.1:{port}/soma", one_shot=one_shot, timeout_s=2)
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=rf"127\.0\.0\.1:{port}/soma") as refused:
            store.stats()
        assert time.monotonic() - began < 4
        assert "store.dsn" in refused.value.message + refused.value.hint
        assert SECRET not in refused.value.message


def test_a_server_that_falls_silent(server: PostgresServer, opened: Open) -> None:
    dsn = new_database(server.address)
    prepared(opened(dsn))
    store = opened(dsn, timeout_s=0.2)
    store.positions(TOPIC_ID)
    server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="no answer"):
            store.apply(batch(record(0, 1)))
        assert time.monotonic() - began < 15
    finally:
        server.resume()
    patient = opened(dsn)
    assert patient.apply(batch(record(0, 1))).positions == {0: 1}


# --- workers -----------------------------------------------------------------------------------------------------


class Paused(list[Entry]):
    """Entries of a worker that stops between what it read and what it writes, until it is let go."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(entries)
        self.looks = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[Entry]:
        self.looks += 1
        if self.looks == 2:  # the first look is for the ids to read
            self.reached.set()
            assert self.go_on.wait(30)
        return super().__iter__()


@pytest.fixture
def dsn(place: Path) -> str | None:
    return postgres_settings(place).dsn


def apply_paused(store: MemoryStore, pool: ThreadPoolExecutor, *records: Record):  # type: ignore[no-untyped-def]
    entries = Paused(entries_of(records))
    run = EntryRun(records[0].partition, records[0].offset, records[-1].offset + 1, entries)
    task = pool.submit(store.apply, Batch(TOPIC_ID, [run]))
    assert entries.reached.wait(10)
    return entries, task


@pytest.mark.parametrize("begun", [0, 1])
def test_a_zombie_that_goes_on_has_won(dsn: str, opened: Open, begun: int) -> None:
    """The other waits for it, and finds its records passed; whether the partition has a position already or not."""
    store, other = prepared(opened(dsn)), opened(dsn)
    if begun:
        store.apply(batch(record(0, 5, 50)))
    same = record(begun, 1), record(begun + 1, 2)
    with ThreadPoolExecutor(2) as pool:
        zombie, first = apply_paused(store, pool, *same)
        second = pool.submit(other.apply, batch(*same, record(begun + 2, 3)))
        with psycopg.connect(dsn, autocommit=True) as operator:
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while operator.execute(waits).fetchone() != (1,):
                assert not second.done()
                time.sleep(0.01)
        zombie.go_on.set()
        assert len(first.result(30).decisions) == 2
        applied: Applied = second.result(30)
    assert (len(applied.decisions), applied.redelivered, applied.positions) == (1, 2, {0: begun + 3})


def test_a_zombie_that_stays_away_is_shut_out(dsn: str, opened: Open) -> None:
    """The server ends its transaction, so that it holds nobody up; when it comes back it has changed nothing."""
    other = prepared(opened(dsn))
    store = opened(dsn, timeout_s=0.5)
    with ThreadPoolExecutor(1) as pool:
        zombie, first = apply_paused(store, pool, record(0, 1), record(1, 1, 1, "updated"))
        assert other.apply(batch(record(0, 1))).positions == {0: 1}
        assert other.apply(batch(record(1, 1, 9, "deleted"))).positions == {0: 2}
        zombie.go_on.set()
        with pytest.raises(ServiceUnavailable):
            first.result(30)
    assert other.states([uid(1)])[uid(1)].deleted
    again = store.apply(batch(record(0, 1), record(1, 1, 1, "updated")))
    assert (again.decisions, again.redelivered) == ([], 2)


def test_a_worker_that_waits_too_long_may_try_again(dsn: str, opened: Open) -> None:
    store, hasty = prepared(opened(dsn)), opened(dsn, timeout_s=0.3)
    store.apply(batch(record(0, 1)))
    with ThreadPoolExecutor(1) as pool:
        zombie, first = apply_paused(store, pool, record(1, 1))
        with pytest.raises(ServiceUnavailable) as busy:
            hasty.apply(batch(record(1, 1)))
        assert busy.value.code == "busy"
        assert hasty.apply(batch(record(0, 2, 7, partition=1))).positions[1] == 1  # another partition is free
        zombie.go_on.set()
        first.result(30)
    assert hasty.apply(batch(record(1, 1))).redelivered == 1


@pytest.mark.parametrize("partitions", [1, 2])
def test_appliers_at_once(dsn: str, opened: Open, partitions: int) -> None:
    """Each takes all partitions, in whichever order: nobody waits for ever, everything is applied once."""
    size, last = 10, 300
    prepared(opened(dsn))
    logs = {
        number: [
            record(offset, 100 * number + offset % 9, 1000 * number + offset, partition=number)
            for offset in range(last)
        ]
        for number in range(partitions)
    }

    def apply_all(turned: bool) -> int:
        store, at, decided = opened(dsn), dict.fromkeys(logs, 0), 0
        while any(offset < last for offset in at.values()):
            runs = [
                EntryRun(number, offset, offset + size, entries_of(logs[number][offset : offset + size]))
                for number, offset in at.items()
                if offset < last
            ]
            applied = store.apply(Batch(TOPIC_ID, runs[::-1] if turned else runs))
            decided += len(applied.decisions)
            at = {number: applied.positions[number] for number in logs}
        return decided

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(apply_all, [True, False, True, False])) == last * partitions
    store = opened(dsn)
    assert store.stats()["journal"]["applied"] == last * partitions
    for number, records in logs.items():
        found = store.journal_at(TOPIC_ID, [Position(EVENTS_TOPIC, number, item.offset) for item in records])
        assert len(found) == last


# --- many --------------------------------------------------------------------------------------------------------


def test_memory_is_flat_over_many_rows(dsn: str, opened: Open) -> None:
    store = prepared(opened(dsn))
    with psycopg.connect(dsn, autocommit=True) as operator:
        operator.execute(
            """INSERT INTO memories (id, version, created_at, updated_at, importance, last_event_id, deleted, namespace,
                   payload_json)
               SELECT lpad(to_hex(n), 32, '0')::uuid, n, now(), now(), 1, gen_random_uuid(), false, 'default',
                   '{"text": "' || repeat('x', 500) || '"}'
               FROM generate_series(0, 99999) AS n"""
        )
    states = store.scan_states()
    for _ in range(5000):
        next(states)
    before = resident_bytes()
    count = 5000
    for count, _state in enumerate(states, start=5001):
        if count % 10_000 == 0:
            assert resident_bytes() - before < 10_000_000
    assert count == 100_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
