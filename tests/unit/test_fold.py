"""The fold: any redelivery, batch split, crash point and late duplicate gives what the clean log gives."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.memory_store.sqlite import SqliteMemoryStore
from soma_cli.core.event import CREATED, DELETED, NO_STATE, UPDATED, epoch_of, offset_of, version_of
from soma_cli.core.memory import Decision, Entry, EventKey, MemoryState, decide
from soma_cli.core.ports import Batch, EntryRun, PositionMismatch
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.serialization import serialize
from soma_cli.core.workers.kv_writer import judge

TOPIC_ID = "topic-1"


class Said(NamedTuple):
    """One event as a test writes it; `memory` None is a record that is no event."""

    memory: int | None
    event: int
    type: str = CREATED
    if_version: int | None = None
    importance: float | None = None


def uid(number: int) -> str:
    return str(UUID(int=number << 64 | 7))


def appended_at(offset: int) -> int:
    return 1_000 + 10 * offset


def entry(offset: int, said: Said) -> Entry:
    key, value = b"none", b"not json"
    if said.memory is not None:
        document: dict[str, Any] = {
            "event_id": uid(1000 + said.event),
            "id": uid(said.memory),
            "namespace": f"n{said.event % 3}",
            "type": said.type,
            "timestamp": "2026-01-01T00:00:00Z",
            "payload": {} if said.type == DELETED else {"n": said.event},
        }
        document |= {"if_version": said.if_version} if said.if_version is not None else {}
        document |= {"importance": said.importance} if said.importance is not None else {}
        key, value = uid(said.memory).encode(), serialize(document)
    return judge(Record(EVENTS_TOPIC, 0, offset, appended_at(offset), key, value))


def log_of(*said: Said) -> list[Entry]:
    return [entry(offset, item) for offset, item in enumerate(said)]


def folded(entries: list[Entry], epoch: int = 0) -> tuple[dict[str, MemoryState], list[Decision]]:
    states: dict[str, MemoryState] = {}
    decisions = decide(entries, epoch=epoch, states=states, seen=set())
    return states, decisions


def named(decisions: list[Decision]) -> list[str]:
    return [decision.outcome.value for decision in decisions]


def state_of(*said: Said) -> MemoryState:
    return folded(log_of(*said))[0][uid(1)]


# --- the rules, one by one ---------------------------------------------------------------------------------------


def test_created_puts_a_state() -> None:
    state = state_of(Said(1, 4, importance=2.5))
    assert (state.payload, state.importance, state.namespace, state.deleted) == ({"n": 4}, 2.5, "n1", False)
    assert (state.version, state.last_event_id) == (0, uid(1004))
    assert state.created_at == state.updated_at == appended_at(0)


def test_a_missing_importance_counts_as_one() -> None:
    assert state_of(Said(1, 0, importance=5), Said(1, 1, UPDATED)).importance == 1.0


@pytest.mark.parametrize("type", [CREATED, UPDATED])
def test_a_later_event_replaces_the_whole_state_and_keeps_created_at(type: str) -> None:
    state = state_of(Said(1, 0, importance=5), Said(2, 1), Said(1, 5, type))
    assert (state.payload, state.importance, state.namespace, state.version) == ({"n": 5}, 1.0, "n2", 2)
    assert (state.created_at, state.updated_at) == (appended_at(0), appended_at(2))


def test_updated_of_an_unknown_memory_is_ignored() -> None:
    states, decisions = folded(log_of(Said(1, 0, UPDATED)))
    assert (states, named(decisions)) == ({}, ["ignored"])
    assert "unknown" in decisions[0].note


def test_deleted_leaves_a_tombstone() -> None:
    state = state_of(Said(1, 0, importance=5), Said(1, 5, DELETED))
    assert (state.deleted, state.payload, state.version, state.last_event_id) == (True, {}, 1, uid(1005))
    assert (state.namespace, state.importance) == ("n0", 5.0)
    assert (state.created_at, state.updated_at) == (appended_at(0), appended_at(1))


def test_deleted_of_an_unknown_memory_is_a_tombstone_too() -> None:
    state = state_of(Said(1, 0, DELETED))
    assert (state.deleted, state.payload, state.version) == (True, {}, 0)


def test_only_created_revives() -> None:
    states, decisions = folded(log_of(Said(1, 0), Said(1, 1, DELETED), Said(1, 2, UPDATED), Said(1, 3)))
    assert named(decisions) == ["applied", "applied", "ignored", "applied"]
    assert "deleted" in decisions[2].note
    state = states[uid(1)]
    assert (state.deleted, state.payload, state.version) == (False, {"n": 3}, 3)
    assert state.created_at == state.updated_at == appended_at(3)


def test_a_second_delete_moves_the_tombstone() -> None:
    assert state_of(Said(1, 0), Said(1, 1, DELETED), Said(1, 2, DELETED)).version == 2


def test_each_event_is_counted_at_its_first_position() -> None:
    states, decisions = folded(log_of(Said(1, 0), Said(1, 1, DELETED), Said(1, 0), Said(2, 0)))
    assert named(decisions) == ["applied", "applied", "duplicate", "applied"]
    assert states[uid(1)].deleted
    assert decisions[2].state == states[uid(1)]


def test_an_ignored_event_counts_as_seen() -> None:
    """It was ignored for good: appended again after the memory came to be, it still changes nothing."""
    _, decisions = folded(log_of(Said(1, 0, UPDATED), Said(1, 1), Said(1, 0, UPDATED)))
    assert named(decisions) == ["ignored", "applied", "duplicate"]


@pytest.mark.parametrize(
    ("before", "if_version", "outcome"),
    [
        ([], NO_STATE, "applied"),
        ([], 0, "ignored"),
        ([Said(1, 0)], 0, "applied"),
        ([Said(1, 0)], NO_STATE, "ignored"),
        ([Said(1, 0)], 1, "ignored"),
        ([Said(1, 0), Said(1, 1, UPDATED)], 0, "ignored"),
        ([Said(1, 0), Said(1, 1, UPDATED)], 1, "applied"),
        ([Said(1, 0), Said(1, 1, DELETED)], 1, "applied"),
        ([Said(1, 0), Said(1, 1, DELETED)], NO_STATE, "ignored"),
    ],
)
def test_if_version(before: list[Said], if_version: int, outcome: str) -> None:
    states, _ = folded(log_of(*before))
    after, decisions = folded(log_of(*before, Said(1, 9, CREATED, if_version)))
    assert named(decisions)[-1] == outcome
    if outcome == "ignored":
        assert after == states
        assert f"if_version is {if_version}" in decisions[-1].note


def test_if_version_is_met_but_the_type_is_ignored() -> None:
    _, decisions = folded(log_of(Said(1, 0), Said(1, 1, DELETED), Said(1, 2, UPDATED, 1)))
    assert named(decisions)[-1] == "ignored"


def test_a_record_that_is_no_event_is_rejected_with_the_reason() -> None:
    states, decisions = folded(log_of(Said(1, 0), Said(None, 0)))
    assert named(decisions) == ["applied", "rejected"]
    assert "not JSON" in decisions[1].note
    assert list(states) == [uid(1)]


@settings(deadline=None)
@given(st.integers(0, 8191), st.integers(0, 2**40 - 1), st.integers(0, 8191), st.integers(0, 2**40 - 1))
def test_versions_order_like_epochs_and_offsets(epoch: int, offset: int, epoch2: int, offset2: int) -> None:
    version = version_of(epoch, offset)
    assert (epoch_of(version), offset_of(version)) == (epoch, offset)
    assert version < 2**53
    assert float(version) == version
    assert (version < version_of(epoch2, offset2)) == ((epoch, offset) < (epoch2, offset2))


# --- logs of any kind --------------------------------------------------------------------------------------------

SAID = st.builds(
    Said,
    memory=st.none() | st.integers(0, 2),
    event=st.integers(0, 9),
    type=st.sampled_from([CREATED, CREATED, UPDATED, UPDATED, DELETED]),
    if_version=st.none() | st.none() | st.integers(-1, 12),
    importance=st.none() | st.integers(1, 5).map(float),
)
LOGS = st.lists(SAID, max_size=14)


Shown = tuple[int, bool, int, int, str, float]
"""(version, deleted, created_at, updated_at, last event, importance)"""


def told(said: list[Said]) -> tuple[dict[str, Shown], list[str]]:
    """The fold told another way: each event looks back over the whole log. Shares no code with the real one."""
    outcomes: list[str] = []

    def made(memory: int | None) -> list[int]:
        return [at for at, known in enumerate(outcomes) if known == "applied" and said[at].memory == memory]

    for offset, item in enumerate(said):
        before = made(item.memory)
        dead = not before or said[before[-1]].type == DELETED
        if item.memory is None:
            outcomes.append("rejected")
        elif any((old.memory, old.event) == (item.memory, item.event) for old in said[:offset]):
            outcomes.append("duplicate")
        elif item.if_version not in (None, before[-1] if before else NO_STATE) or (item.type == UPDATED and dead):
            outcomes.append("ignored")
        else:
            outcomes.append("applied")
    return {uid(memory): told_state(said, made(memory)) for memory in range(3) if made(memory)}, outcomes


def told_state(said: list[Said], made: list[int]) -> Shown:
    revived = [two for one, two in pairwise(made) if said[one].type == DELETED and said[two].type != DELETED]
    alive = [at for at in made if said[at].type != DELETED]
    # A tombstone tells the importance that its memory had; one that never was has the delete's own.
    importance = said[alive[-1] if alive else made[0]].importance
    newest, born = made[-1], [made[0], *revived][-1]
    return (
        *(newest, said[newest].type == DELETED, appended_at(born), appended_at(newest)),
        *(uid(1000 + said[newest].event), 1.0 if importance is None else importance),
    )


def shown(state: MemoryState) -> Shown:
    return (
        *(state.version, state.deleted, state.created_at, state.updated_at),
        *(state.last_event_id, state.importance),
    )


@settings(max_examples=400, deadline=None)
@given(LOGS)
def test_the_fold_agrees_with_another_formulation(said: list[Said]) -> None:
    states, decisions = folded(log_of(*said))
    assert ({id: shown(state) for id, state in states.items()}, named(decisions)) == told(said)
    for state in states.values():
        event = (int(UUID(state.last_event_id)) >> 64) - 1000
        assert state.payload == ({} if state.deleted else {"n": event})


@settings(max_examples=200, deadline=None)
@given(LOGS, st.lists(st.integers(1, 5), min_size=1))
def test_any_batch_split_decides_the_same(said: list[Said], sizes: list[int]) -> None:
    entries = log_of(*said)
    states: dict[str, MemoryState] = {}
    seen: set[EventKey] = set()
    decisions: list[Decision] = []
    while len(decisions) < len(entries):
        at = len(decisions)
        decisions += decide(entries[at : at + sizes[at % len(sizes)]], epoch=0, states=states, seen=seen)
    assert (states, decisions) == folded(entries)


@settings(max_examples=200, deadline=None)
@given(LOGS, st.data())
def test_a_duplicate_appended_later_changes_nothing(said: list[Said], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(said), max_size=6)) if said else []
    entries = log_of(*said, *again)
    states, decisions = folded(entries[: len(said)])
    later_states, later = folded(entries)
    assert later_states == states
    assert later[: len(said)] == decisions
    assert {decision.outcome.value for decision in later[len(said) :]} <= {"duplicate", "rejected"}


@settings(max_examples=100, deadline=None)
@given(LOGS, st.integers(0, 8191))
def test_an_epoch_shifts_versions_and_nothing_else(said: list[Said], epoch: int) -> None:
    said = [item._replace(if_version=None) for item in said]
    states, decisions = folded(log_of(*said))
    shifted, others = folded(log_of(*said), epoch)
    assert named(others) == named(decisions)
    assert {id: state.version for id, state in shifted.items()} == {
        id: version_of(epoch, state.version) for id, state in states.items()
    }


# --- the same through a store ------------------------------------------------------------------------------------


class Worker:
    """Delivers a log to a store as badly as a log may: overlapping batches, from where it thinks it is."""

    def __init__(self, folder: Path, entries: list[Entry]) -> None:
        self._folder = folder
        self._entries = entries
        self.outcomes: Counter[int] = Counter()
        self.refused: list[tuple[int, int]] = []
        self.start_again()

    def start_again(self) -> None:
        """As after a crash: nothing is left but what the store holds."""
        self.store = SqliteMemoryStore(open_data_folder(self._folder))
        self.store.register_topic(EVENTS_TOPIC, TOPIC_ID)

    def stop(self) -> None:
        self.store.close()

    @property
    def position(self) -> int:
        return self.store.positions(TOPIC_ID).get(0, 0)

    def deliver(self, start: int, end: int) -> None:
        end = min(end, len(self._entries))
        try:
            applied = self.store.apply(Batch(TOPIC_ID, [EntryRun(0, start, end, self._entries[start:end])]))
        except PositionMismatch as error:
            self.refused.append((error.stored, start))
            return
        self.outcomes.update(decision.entry.record.offset for decision in applied.decisions)
        assert applied.redelivered + len(applied.decisions) == max(end - start, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["deliver", "deliver", "deliver", "crash"]), st.integers(-6, 2), st.integers(0, 6))
)


@settings(max_examples=40, deadline=None)
@given(LOGS, STEPS)
def test_any_redelivery_and_crash_point_gives_the_clean_log(
    said: list[Said], steps: list[tuple[str, int, int]]
) -> None:
    entries = log_of(*said)
    states, decisions = folded(entries)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), entries)
        for dies, back, size in steps:
            if dies == "crash":
                worker.stop()
                worker.start_again()
            start = max(0, worker.position + back)
            worker.deliver(start, start + size)
        worker.deliver(0, len(entries))
        found = {state.id: state for state in worker.store.scan_states(deleted=True)}
        journal = worker.store.stats()["journal"]
        shadow = worker.store.shadow(TOPIC_ID)
        shadow.apply(Batch(TOPIC_ID, [EntryRun(0, 0, len(entries), entries)]))
        difference = shadow.compare(lambda positions: None)
        shadow.discard()
        history = [item for memory in range(3) for item in worker.store.history(uid(memory))]
        worker.stop()
    assert all(stored < start for stored, start in worker.refused)
    assert found == states
    assert difference.total == 0
    assert worker.outcomes == Counter(range(len(entries)))
    assert {name: count for name, count in journal.items() if count} == Counter(named(decisions))
    of_memories = [decision for decision in decisions if decision.entry.event is not None]
    assert sorted((item.position.offset, item.outcome, item.note, item.version) for item in history) == [
        (decision.entry.record.offset, decision.outcome, decision.note, decision.version) for decision in of_memories
    ]
