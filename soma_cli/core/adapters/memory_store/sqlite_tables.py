"""One set of canonical tables, live or shadow: reading states, and applying a batch within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

import orjson

from soma_cli.core.adapters.memory_store.store_rules import log_replaced, not_passed
from soma_cli.core.adapters.named_queries import named_queries
from soma_cli.core.errors import NotJson, ValueRefused
from soma_cli.core.event import is_canonical_uuid, offset_of
from soma_cli.core.instants import now_us
from soma_cli.core.memory import Decision, EventKey, MemoryState, Outcome, decide
from soma_cli.core.ports import Applied, Batch, EntryRun, JournalEntry, PositionMismatch
from soma_cli.core.record import EVENTS_TOPIC, Position

SQL = Path(__file__).parent / "sql" / "sqlite"
_VERSION_BITS = 53

JournalRow = tuple[int, str, str, str, int, int, str, str, str | None]


class Tables:
    """The statements of one set of tables; `prefix` is "" for the live ones. Needs an open transaction to write."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._queries = {name: text.replace("{p}", prefix) for name, text in named_queries(SQL / "queries.sql").items()}

    def __getitem__(self, name: str) -> str:
        return self._queries[name]

    def positions(self, connection: sqlite3.Connection, topic_id: str) -> dict[int, int]:
        return dict(connection.execute(self["positions"], (topic_id,)).fetchall())

    def epoch(self, connection: sqlite3.Connection, topic_id: str) -> int:
        row = connection.execute(self["epoch"], (topic_id,)).fetchone()
        if row is None:
            raise log_replaced(topic_id)
        epoch = row[0]
        assert isinstance(epoch, int)
        return epoch

    def states(self, connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, MemoryState]:
        rows = connection.execute(self["states"], (orjson.dumps(list(ids)).decode(),))
        return {row[0]: state_of(row) for row in rows}

    def apply(self, connection: sqlite3.Connection, batch: Batch) -> Applied:
        epoch = self.epoch(connection, batch.topic_id)
        positions = self.positions(connection, batch.topic_id)
        fresh = [not_passed(run, positions.get(run.partition, 0)) for run in batch.runs]
        redelivered = sum(len(run.entries) for run in batch.runs) - sum(len(run.entries) for run in fresh)
        events = [entry.event for run in fresh for entry in run.entries if entry.event is not None]
        states = self.states(connection, {event.id for event in events})
        seen = self._seen(connection, [(event.id, event.event_id) for event in events])
        decided = []
        for run in fresh:
            decisions = decide(run.entries, epoch=epoch, states=states, seen=seen)
            self._write(connection, run.partition, decisions)
            decided += decisions
            if run.end > run.start:
                self._store_position(connection, batch.topic_id, run)
                positions[run.partition] = run.end
        return Applied(decided, redelivered, positions)

    def _seen(self, connection: sqlite3.Connection, keys: list[EventKey]) -> set[EventKey]:
        return set(connection.execute(self["seen"], (orjson.dumps(keys).decode(),)))

    def _write(self, connection: sqlite3.Connection, partition: int, decisions: list[Decision]) -> None:
        now = now_us()
        newest = {
            decision.state.id: decision.state
            for decision in decisions
            if decision.outcome is Outcome.APPLIED and decision.state is not None
        }
        try:
            connection.executemany(self["upsert_memory"], map(row_of, newest.values()))
            connection.executemany(self["journal"], (_journal_row(partition, item, now) for item in decisions))
        except (OverflowError, UnicodeEncodeError, sqlite3.DataError) as error:
            raise ValueRefused(f"the store cannot hold a value of this batch: {error}") from error

    def _store_position(self, connection: sqlite3.Connection, topic_id: str, run: EntryRun) -> None:
        """Compare and set: the row moves only from the position that this transaction read."""
        row = (topic_id, run.partition, run.end, run.start)
        if connection.execute(self["store_position"], row).rowcount != 1:
            raise PositionMismatch("another worker moved the stored position meanwhile", run.partition, run.start)


def row_of(state: MemoryState) -> tuple[object, ...]:
    """The columns of `memories` are the fields of a state, in their order."""
    id, namespace, payload_json, *rest = state
    return (id, namespace, payload_json.decode(), *rest)


def state_of(row: tuple[str, str, str, float, int, int, int, str, str | None, int]) -> MemoryState:
    return MemoryState(row[0], row[1], row[2].encode(), *row[3:9], bool(row[9]))


def _journal_row(partition: int, decision: Decision, now: int) -> tuple[object, ...]:
    record, event = decision.entry.record, decision.entry.event
    seq = journal_seq(partition, decision.version)
    identity: tuple[str | None, str | None, str | None]
    value: bytes | None
    if event is not None:
        identity = (event.id, event.event_id, event.type)
        value = event.value
    else:
        identity = (_key_text(record.key), None, None)
        value = None if isinstance(decision.entry.rejection, NotJson) else record.value
    text = None if value is None else value.decode()
    return (seq, *identity, record.appended_at, now, decision.outcome.value, decision.note, text)


def _key_text(key: bytes | None) -> str | None:
    """The id that a rejected record claims, where its key can be one."""
    text = key.decode("ascii", errors="replace") if key is not None else ""
    return text if is_canonical_uuid(text) else None


def journal_seq(partition: int, version: int) -> int:
    return (partition << _VERSION_BITS) | version


def journal_entries(rows: Iterable[JournalRow]) -> list[JournalEntry]:
    return [journal_entry(row) for row in rows]


def journal_entry(row: JournalRow) -> JournalEntry:
    seq, id, event_id, type, appended_at, applied_at, outcome, note, event = row
    version = seq & ((1 << _VERSION_BITS) - 1)
    position = Position(EVENTS_TOPIC, seq >> _VERSION_BITS, offset_of(version))
    value = None if event is None else event.encode()
    return JournalEntry(position, version, id, event_id, type, appended_at, applied_at, Outcome(outcome), note, value)
