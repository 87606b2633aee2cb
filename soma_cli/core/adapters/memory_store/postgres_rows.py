"""Rows of the PostgreSQL tables to states and journal entries, and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from soma_cli.core.adapters.memory_store.postgres_arrays import (
    Array,
    Bigints,
    Booleans,
    Doubles,
    Instants,
    Integers,
    Labels,
    Texts,
    Uuids,
)
from soma_cli.core.errors import NotJson
from soma_cli.core.event import is_canonical_uuid, offset_of
from soma_cli.core.memory import Decision, Entry, EventKey, MemoryState, Outcome
from soma_cli.core.ports import JournalEntry
from soma_cli.core.record import EVENTS_TOPIC, Position


def state_of(row: Sequence[Any]) -> MemoryState:
    return MemoryState(row[0], row[1], row[2].encode(), *row[3:])


def state_columns(states: Collection[MemoryState]) -> list[Array]:
    """The columns of `memories` are the fields of a state, in their order."""
    kinds = (Uuids, Labels, Texts, Doubles, Instants, Instants, Bigints, Uuids, Labels, Booleans)
    return _columns(kinds, states)


def journal_keys(entries: Iterable[Entry]) -> list[Array]:
    """The columns `id` and `event_id` of the journal."""
    keys = [
        (event.id, event.event_id) if event is not None else (_key_text(record.key), None)
        for record, event, _ in entries
    ]
    return _columns((Uuids, Uuids), keys)


def journal_entries(entries: Iterable[Entry]) -> list[Array]:
    """The columns `partition`, `appended_at`, `type` and `event` of the journal."""
    rows = [
        (record.partition, record.appended_at, event.type, event.value)
        if event is not None
        else (record.partition, record.appended_at, None, None if isinstance(rejection, NotJson) else record.value)
        for record, event, rejection in entries
    ]
    return _columns((Integers, Instants, Labels, Texts), rows)


def journal_outcomes(decisions: Iterable[Decision]) -> list[Array]:
    """The columns `version`, `outcome` and `note` of the journal. A note may quote what no text can hold."""
    rows = [
        (version, outcome, note if entry.event is not None else _escaped(note))
        for entry, version, outcome, note, _ in decisions
    ]
    return _columns((Bigints, Labels, Labels), rows)


def _columns(kinds: Sequence[type[Any]], rows: Collection[Sequence[Any]]) -> list[Array]:
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else ([],) * len(kinds)
    return [kind(column) for kind, column in zip(kinds, columns, strict=True)]


def _escaped(note: str) -> str:
    return note.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _key_text(key: bytes | None) -> str | None:
    """The id that a rejected record claims, where its key can be one."""
    text = key.decode("ascii", errors="replace") if key is not None else ""
    return text if is_canonical_uuid(text) else None


def journal_entry(row: Sequence[Any]) -> JournalEntry:
    version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event = row
    position = Position(EVENTS_TOPIC, partition, offset_of(version))
    value = None if event is None else event.encode()
    return JournalEntry(position, version, id, event_id, type, appended_at, applied_at, Outcome(outcome), note, value)


def ids_array(ids: Iterable[str]) -> Uuids:
    """What is no id of ours is left out: no row has it."""
    return Uuids([id for id in ids if is_canonical_uuid(id)])


def keys_arrays(keys: Iterable[EventKey]) -> tuple[Uuids, Uuids]:
    known = {key for key in keys if is_canonical_uuid(key[0]) and is_canonical_uuid(key[1])}
    return Uuids([id for id, _ in known]), Uuids([event_id for _, event_id in known])
