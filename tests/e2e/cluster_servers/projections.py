"""The command line on real servers, and the comparison of everything that it made with the pure fold of the topic."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from soma_cli.core.eventing.audit import source_of
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.memory import Decision, Entry, MemoryState, Outcome, decide
from soma_cli.core.ports import EventLog
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, LATEST_TOPIC, Record
from soma_cli.core.serialization import deserialize
from soma_cli.core.settings_loader import load_settings
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.kv_writer import judge
from soma_cli.core.workers.latest_publisher import latest_row
from tests.e2e.conftest import ROOT, Running, Soma, command_line
from tests.services import new_topic_prefix

JOURNAL = """
SELECT partition, version, id::text, event_id::text, (extract(epoch FROM appended_at) * 1000000)::bigint, outcome, type,
    note, event FROM memory_events ORDER BY partition, version
"""
REJECTED = "SELECT count(*) FROM memory_events WHERE outcome = 'rejected'"


PATIENCE_S = 240.0
"""How long a test waits for what should take moments: servers that start, groups that form, on a busy machine too."""


def wait_until(condition: Callable[[], bool], what: str, running: Running | None = None) -> None:
    """Wait until the condition holds; fail after a long while, or as soon as the process that must do it has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        said = "" if running is None else f"; it said: {running.stderr[-3000:]}"
        if running is not None and running.process.poll() is not None and not condition():
            pytest.fail(f"the process ended with {running.process.returncode} before there was {what}{said}")
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain for {what}{said}")
        time.sleep(0.05)


class ClusterSoma(Soma):
    """`Soma` on Kafka and PostgreSQL, and on Redis where given; the index lies in the data folder."""

    def __init__(
        self, folder: Path, scratch: Path, kafka: str, dsn: str, redis: str | None = None, replicas: int = 1
    ) -> None:
        super().__init__(folder, scratch)
        prefix = new_topic_prefix()
        self.dsn = dsn
        self.settings = {
            "SOMA_PROFILE": "cluster",
            "SOMA_LOG__BOOTSTRAP_SERVERS": kafka,
            "SOMA_LOG__REPLICATION_FACTOR": str(replicas),
            "SOMA_LOG__PARTITIONS": "3",
            "SOMA_LOG__TOPIC_PREFIX": prefix,
            "SOMA_LOG__GROUP_PREFIX": prefix + "soma",
            "SOMA_LOG__SESSION_TIMEOUT_S": "6",
            "SOMA_LOG__TIMEOUT_S": "5",
            "SOMA_STORE__DSN": dsn,
            "SOMA_STORE__TIMEOUT_S": "5",
            "SOMA_INDEX__KIND": "qdrant_edge",
            "SOMA_REGISTRY__KIND": "files",
            "SOMA_WORKER__BACKOFF_MAX_S": "1",
        }
        cache = {"SOMA_CACHE__KIND": "redis", "SOMA_CACHE__URL": redis, "SOMA_CACHE__PREFIX": prefix} if redis else None
        self.settings |= cache or {"SOMA_CACHE__KIND": "none"}

    def system(self) -> MemorySystem:
        """The library on the same settings."""
        return MemorySystem(load_settings(environ=self.env()).settings)

    def run(
        self, *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """With more patience: servers and workers share the machine with the command."""
        return subprocess.run(
            command_line(arguments), cwd=ROOT, env=self.env(**env or {}), input=(stdin or b"").decode(),
            capture_output=True, timeout=PATIENCE_S, check=False, text=True,
        )  # fmt: skip

    def json(self, *arguments: str, stdin: bytes | None = None) -> Any:
        """Within this process: on a busy machine a new one takes seconds."""
        done = self.inline(*arguments, "-o", "json", stdin=stdin or b"")
        assert done.returncode == 0, f"soma {' '.join(arguments)} exited {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def topic(self, name: str) -> str:
        """A topic's name on the broker."""
        return self.settings["SOMA_LOG__TOPIC_PREFIX"] + name

    def query(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()


PATIENT = {"SOMA_LOG__TIMEOUT_S": "30", "SOMA_STORE__TIMEOUT_S": "30"}
"""For servers that are all there, if slow."""


class Expected:
    """What the fold makes of records: states by id, decisions by partition and offset."""

    def __init__(self, log: EventLog, records: Iterable[Record]) -> None:
        self.records = list(records)
        self.states: dict[str, MemoryState] = {}
        right = log.partitions_of(EVENTS_TOPIC, [record.key or b"" for record in self.records])
        entries = [_judged(record, partition) for record, partition in zip(self.records, right, strict=True)]
        self.decisions = decide(entries, epoch=0, states=self.states, seen=set())

    def outcomes(self) -> dict[str, int]:
        return {outcome: sum(1 for item in self.decisions if item.outcome == outcome) for outcome in Outcome}


def _judged(record: Record, partition: int) -> Entry:
    entry = judge(record)
    if entry.event is None or partition == record.partition:
        return entry
    from soma_cli.core.errors import EventRejected

    return Entry(record, None, EventRejected("in another partition than its key's", code="wrong_partition"))


def events_of(log: EventLog) -> list[Record]:
    """All that the topic holds, partition after partition."""
    return list(records_of(log, EVENTS_TOPIC))


def records_of(log: EventLog, topic: str) -> Iterator[Record]:
    for partition, bounds in log.bounds(topic).items():
        yield from log.scan(topic, partition, bounds.beginning, bounds.end)


WORKERS = ("kv", "vector", "audit", "latest")


def passed_by_all(
    soma: ClusterSoma, system: MemorySystem, worker: Running | None = None, workers: tuple[str, ...] = WORKERS
) -> None:
    """Wait until all have passed the end that the log has now."""
    ends = {number: bounds.end for number, bounds in system.adapters.log.bounds(EVENTS_TOPIC).items()}
    group = soma.settings["SOMA_LOG__TOPIC_PREFIX"] + soma.settings["SOMA_LOG__GROUP_PREFIX"]
    topic_id = system.adapters.log.topic_id(EVENTS_TOPIC)

    def committed(name: str) -> Mapping[int, int]:
        found = system.adapters.log.committed(f"{group}-{name}", EVENTS_TOPIC)
        return {partition: item.offset for partition, item in found.items()}

    reads: dict[str, Callable[[], Mapping[int, int]]] = {
        "kv": lambda: system.adapters.store.positions(topic_id),
        "vector": lambda: system.adapters.index.positions(topic_id),
        "audit": lambda: committed("audit"),
        "latest": lambda: committed("latest"),
    }
    for name in workers:
        wait_until(partial(_passed, reads[name], ends), f"{name} past {ends}", worker)


def _passed(read: Callable[[], Mapping[int, int]], ends: Mapping[int, int]) -> bool:
    positions = read()
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())


def check_store(soma: ClusterSoma, system: MemorySystem, expected: Expected) -> None:
    """Rows and journal, row for row."""
    rows = {state.id: state for state in system.adapters.store.scan_states(deleted=True)}
    assert {id: _comparable(state) for id, state in rows.items()} == {
        id: _comparable(state) for id, state in expected.states.items()
    }
    found, wanted = soma.query(JOURNAL), sorted(_journal_row(decision) for decision in expected.decisions)
    assert len(found) == len(wanted), f"{len(found)} journal rows, {len(wanted)} decisions"
    for row, decision in zip(found, wanted, strict=True):
        assert row[:2] + row[4:6] == decision[:2] + decision[4:6]
        assert decision[5] == "rejected" or row == decision


def _comparable(state: MemoryState) -> tuple[Any, ...]:
    return (*state._replace(payload_json=b""), state.payload)


def _journal_row(decision: Decision) -> tuple[Any, ...]:
    record, event = decision.entry.record, decision.entry.event
    known = (event.id, event.event_id) if event else ("", "")
    kind, text = (event.type, event.value.decode()) if event else ("", "")
    head = (record.partition, decision.version, *known, record.appended_at)
    return (*head, decision.outcome.value, kind, decision.note, text)


def check_index(system: MemorySystem, expected: Expected) -> None:
    points = {point.id: (point.version, point.deleted) for point in system.adapters.index.scan()}
    assert points == {state.id: (state.version, state.deleted) for state in expected.states.values()}


def check_copies(system: MemorySystem, expected: Expected) -> None:
    """`memory.audit` has every record once, as it was; `memory.latest` has the rows."""
    log = system.adapters.log
    audited = [source_of(record) for record in records_of(log, AUDIT_TOPIC)]
    assert [item.record for item in audited if item is not None] == expected.records
    newest = {record.key: record.value for record in records_of(log, LATEST_TOPIC)}
    found = {(key or b"").decode(): None if value is None else deserialize(value) for key, value in newest.items()}
    assert found == {state.id: None if state.deleted else latest_row(state) for state in expected.states.values()}


def check_everything(soma: ClusterSoma, system: MemorySystem, *, letters: int = 0) -> Expected:
    """Every projection against the fold of what the topic holds."""
    expected = Expected(system.adapters.log, events_of(system.adapters.log))
    check_store(soma, system, expected)
    check_index(system, expected)
    check_copies(system, expected)
    assert len(read_letters(system.adapters.log)) == letters
    return expected
