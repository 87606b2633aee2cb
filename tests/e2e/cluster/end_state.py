"""What has to be true in the end, whatever happened to workers: everything equals the pure fold of the topic."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import psycopg

from soma_cli.core.eventing.audit import source_of
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.memory import Decision, MemoryState, Outcome, decide
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, LATEST_TOPIC, Record
from soma_cli.core.serialization import deserialize
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.kv_writer import judge
from soma_cli.core.workers.latest_publisher import latest_row

JOURNAL = """
SELECT partition, version, CASE WHEN outcome = 'rejected' THEN NULL ELSE id::text END, event_id::text, type,
       (extract(epoch FROM appended_at) * 1000000)::bigint, outcome, note,
       CASE WHEN outcome = 'rejected' THEN NULL ELSE event END
FROM memory_events ORDER BY partition, version
"""


class Fold(NamedTuple):
    """States by id, and decisions by partition, made from the topic alone."""

    states: dict[str, MemoryState]
    decisions: dict[int, list[Decision]]

    def outcomes(self) -> Counter[Outcome]:
        return Counter(decision.outcome for made in self.decisions.values() for decision in made)


def fold_of_the_topic(system: MemorySystem) -> Fold:
    states: dict[str, MemoryState] = {}
    decisions = {
        partition: decide([judge(record) for record in records], epoch=0, states=states, seen=set())
        for partition, records in records_of(system, EVENTS_TOPIC).items()
    }
    return Fold(states, decisions)


def records_of(system: MemorySystem, topic: str) -> dict[int, list[Record]]:
    """All of a topic by partition, in offset order; nothing of transactions that did not commit."""
    log = system.adapters.log
    return {number: list(log.scan(topic, number, *bounds)) for number, bounds in sorted(log.bounds(topic).items())}


def check_table_and_journal(system: MemorySystem) -> Fold:
    """Row for row. Returns the fold that they equal."""
    fold = fold_of_the_topic(system)
    rows = {state.id: state for state in system.adapters.store.scan_states(deleted=True)}
    _check_same(rows, fold.states, "rows")
    with psycopg.connect(system.settings.store.dsn or "") as connection:
        journal = {(row[0], row[1]): row[2:] for row in connection.execute(JOURNAL)}
    made = {(number, each.version): _row(each) for number, all in fold.decisions.items() for each in all}
    _check_same(journal, made, "journal rows")
    passed = system.adapters.store.positions(system.adapters.log.topic_id(EVENTS_TOPIC))
    ends = {number: bounds.end for number, bounds in system.adapters.log.bounds(EVENTS_TOPIC).items()}
    assert {number: passed.get(number, 0) for number in ends} == ends
    return fold


def check_dead_letters(system: MemorySystem, fold: Fold) -> None:
    """One for each rejected record, with its bytes."""
    rejected = {
        str(each.entry.record.position): each.entry.record.value
        for made in fold.decisions.values()
        for each in made
        if each.outcome is Outcome.REJECTED
    }
    letters = [(str(each.source.position), each.source.value) for each in read_letters(system.adapters.log)]
    assert sorted(letters) == sorted(rejected.items())


def check_index(system: MemorySystem, fold: Fold) -> None:
    points = {point.id: (point.version, point.deleted) for point in system.adapters.index.scan()}
    _check_same(points, {id: (state.version, state.deleted) for id, state in fold.states.items()}, "points")


def check_latest(system: MemorySystem, fold: Fold) -> None:
    """What compaction would leave of `memory.latest`: the newest value of each key."""
    newest: dict[str, Any] = {}
    for records in records_of(system, LATEST_TOPIC).values():
        for record in records:
            newest[(record.key or b"").decode()] = None if record.value is None else deserialize(record.value)
    rows = {id: None if state.deleted else latest_row(state) for id, state in fold.states.items()}
    _check_same(newest, rows, "latest rows")


def check_audit(system: MemorySystem) -> None:
    """Every record of the topic once, in its order, with all its bytes, and nothing else."""
    copies = records_of(system, AUDIT_TOPIC)
    for number, records in records_of(system, EVENTS_TOPIC).items():
        audited = [source_of(record) for record in copies[number]]
        assert None not in audited, f"a foreign record in {AUDIT_TOPIC}/{number}"
        sources = [each.record for each in audited if each is not None]
        twice = [offset for offset, times in Counter(each.offset for each in sources).items() if times > 1]
        missing = sorted({record.offset for record in records} - {each.offset for each in sources})
        assert not twice, f"{len(twice)} records twice in {AUDIT_TOPIC}/{number}, the first: {twice[0]}"
        assert not missing, f"{len(missing)} records not in {AUDIT_TOPIC}/{number}, the first: {missing[0]}"
        assert sources == records


def check_everything(system: MemorySystem) -> Fold:
    """Everything that `consume all` makes, after it has come to the end."""
    fold = check_table_and_journal(system)
    check_dead_letters(system, fold)
    check_index(system, fold)
    check_latest(system, fold)
    check_audit(system)
    return fold


def _row(decision: Decision) -> tuple[Any, ...]:
    record, event = decision.entry.record, decision.entry.event
    known = (None, None, None) if event is None else (event.id, event.event_id, event.type)
    text = None if event is None else event.value.decode()
    return (*known, record.appended_at, decision.outcome.value, decision.note, text)


def _check_same(found: dict[Any, Any], wanted: dict[Any, Any], what: str) -> None:
    wrong = [
        key
        for key in found.keys() | wanted.keys()
        if (key in found, found.get(key)) != (key in wanted, wanted.get(key))
    ]
    assert not wrong, (
        f"{len(wrong)} of {len(wanted)} {what} differ, the first: {wrong[0]}: "
        f"{found.get(wrong[0], 'missing')} instead of {wanted.get(wrong[0], 'none')}"
    )
