"""The promises of the port MemoryStore, for every adapter; a rebuild beside it is in test_store_shadow.py."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soma_cli.core.errors import LogReplaced
from soma_cli.core.event import version_of
from soma_cli.core.memory import Outcome
from soma_cli.core.ports import Access, Batch, MemoryStore, PositionMismatch
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.serialization import serialize
from tests.contracts.events import FIRST_INSTANT, TOPIC_ID, batch, event_value, raw_record, record, run, uid
from tests.contracts.processes import output, start

Open = Callable[[], MemoryStore]


def outcomes(store: MemoryStore, memory: int) -> list[tuple[int, str]]:
    return [(entry.position.offset, entry.outcome.value) for entry in store.history(uid(memory))]


# --- apply -------------------------------------------------------------------------------------------------------


def test_apply_gives_states_decisions_and_position(store: MemoryStore) -> None:
    applied = store.apply(
        batch(
            record(0, 1, namespace="work", importance=3, payload={"b": [1, None, "ü"], "a": 1.5}, model_revision="m-1"),
            record(1, 2),
            record(2, 1, 0),
        )
    )
    assert [decision.outcome.value for decision in applied.decisions] == ["applied", "applied", "duplicate"]
    assert (applied.redelivered, applied.positions, store.positions(TOPIC_ID)) == (0, {0: 3}, {0: 3})
    states = store.states([uid(1), uid(2), uid(3)])
    assert set(states) == {uid(1), uid(2)}
    assert states[uid(1)] == applied.decisions[0].state
    state, first = states[uid(1)], record(0, 1)
    assert state.payload == {"b": [1, None, "ü"], "a": 1.5}
    assert (state.namespace, state.importance, state.model_revision) == ("work", 3.0, "m-1")
    assert state.created_at == state.updated_at == first.appended_at
    assert (state.version, state.last_event_id, state.deleted) == (0, uid(1_000_000), False)


APPLY_AND_DIE = """
store = STORES[ADAPTER](PLACE)
store.register_topic(EVENTS_TOPIC, TOPIC_ID)
for number in range(int(ARGUMENTS[0])):
    store.apply(batch(*(record(number * 10 + more, more) for more in range(10))))
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_apply_is_atomic_and_survives_a_kill(store_adapter: str, place: Path, open_store: Open) -> None:
    output(start(APPLY_AND_DIE, store_adapter, place, 3), killed=True)
    store = open_store()
    assert store.positions(TOPIC_ID) == {0: 30}
    assert {state.version for state in store.scan_states()} == set(range(20, 30))
    assert outcomes(store, 4) == [(4, "applied"), (14, "applied"), (24, "applied")]


def test_apply_is_atomic_when_killed_within_a_batch(store_adapter: str, place: Path, open_store: Open) -> None:
    process = start(APPLY_AND_DIE, store_adapter, place, 100_000)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    output(process, killed=True)
    store = open_store()
    end = store.positions(TOPIC_ID)[0]
    assert end >= 50
    assert end % 10 == 0
    assert sorted(state.version for state in store.scan_states()) == list(range(end - 10, end))
    assert len(store.journal_at(TOPIC_ID, [Position(EVENTS_TOPIC, 0, offset) for offset in range(end + 20)])) == end


def test_apply_is_idempotent(open_store: Open, store: MemoryStore) -> None:
    records = [record(0, 1), record(1, 1, type="updated"), record(2, 2), record(3, 2, type="deleted")]
    store.apply(batch(*records))
    before = list(store.scan_states(deleted=True)), store.history(uid(1)), store.history(uid(2))
    for again in (records, records[:2], records[3:]):
        applied = open_store().apply(batch(*again))
        assert (applied.decisions, applied.redelivered, applied.positions) == ([], len(again), {0: 4})
    assert (list(store.scan_states(deleted=True)), store.history(uid(1)), store.history(uid(2))) == before


def test_apply_folds_only_what_lies_past_the_position(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1), record(1, 2)))
    applied = store.apply(batch(record(0, 1), record(1, 2), record(2, 1, type="updated"), record(3, 3)))
    assert [decision.version for decision in applied.decisions] == [2, 3]
    assert (applied.redelivered, applied.positions) == (2, {0: 4})
    assert store.stats()["journal"]["applied"] == 4


def test_apply_refuses_a_gap(store: MemoryStore) -> None:
    with pytest.raises(PositionMismatch) as first:
        store.apply(batch(record(1, 1)))
    assert (first.value.partition, first.value.stored) == (0, 0)
    store.apply(batch(record(0, 1), record(1, 1)))
    with pytest.raises(PositionMismatch) as second:
        store.apply(batch(record(3, 2)))
    assert (second.value.partition, second.value.stored) == (0, 2)
    assert store.positions(TOPIC_ID) == {0: 2}
    assert store.states([uid(2)]) == {}


def test_apply_passes_offsets_that_hold_nothing(store: MemoryStore) -> None:
    """A log with transactions or compaction has offsets without a record."""
    assert store.apply(batch(record(3, 1), record(7, 1), start=0, end=10)).positions == {0: 10}
    assert store.apply(batch(start=10, end=15)).positions == {0: 15}
    assert store.positions(TOPIC_ID) == {0: 15}
    assert outcomes(store, 1) == [(3, "applied"), (7, "applied")]


def test_apply_refuses_an_unknown_topic(store: MemoryStore) -> None:
    with pytest.raises(LogReplaced):
        store.apply(batch(record(0, 1), topic_id="other"))
    assert store.states([uid(1)]) == {}


def test_a_row_never_goes_back(store: MemoryStore) -> None:
    """Not even when the position was lost: a new epoch starts anew, and its versions are higher."""
    store.apply(batch(*(record(offset, 1) for offset in range(5))))
    assert store.register_topic(EVENTS_TOPIC, "topic-2", new_epoch=True) == 1
    store.apply(batch(record(0, 1, 77, "updated"), topic_id="topic-2"))
    assert store.states([uid(1)])[uid(1)].version == version_of(1, 0)
    store.apply(batch(record(5, 1, 78), topic_id=TOPIC_ID))  # a late worker on the old log
    assert store.states([uid(1)])[uid(1)].version == version_of(1, 0)


def test_each_event_counts_once(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1, 0), record(1, 1, 0), record(2, 1, 1, "updated"), record(3, 2, 0)))
    store.apply(batch(record(4, 1, 0), record(5, 1, 1, "updated"), record(6, 1, 2, "deleted"), record(7, 1, 0)))
    store.apply(batch(record(8, 1, 2, "deleted"), record(9, 1, 3, "updated"), record(10, 1, 3, "created")))
    assert [name for _, name in outcomes(store, 1)] == [
        *("applied", "duplicate", "applied"),
        *("duplicate", "duplicate", "applied", "duplicate"),
        *("duplicate", "ignored", "duplicate"),
    ]
    assert outcomes(store, 2) == [(3, "applied")]  # the same event id, but another memory's
    assert store.states([uid(1)])[uid(1)].version == 6


def test_an_event_id_in_capitals_is_the_same(store: MemoryStore) -> None:
    event_id = "018F0000-0000-7000-8000-00000000ABCD"
    store.apply(batch(record(0, 1, event_id=event_id), record(1, 1, event_id=event_id.lower())))
    assert outcomes(store, 1) == [(0, "applied"), (1, "duplicate")]


APPLY_ALL = """
from soma_cli.core.ports import PositionMismatch
store = STORES[ADAPTER](PLACE)
store.register_topic(EVENTS_TOPIC, TOPIC_ID)
records = [record(offset, offset % 7, offset % 15) for offset in range(300)]
at = applied = 0
while at < 300:
    done = store.apply(batch(*records[at : at + int(ARGUMENTS[0])]))
    applied += len(done.decisions)
    at = done.positions[0]
print(applied)
"""


def test_workers_that_apply_the_same_at_once(store_adapter: str, place: Path, open_store: Open) -> None:
    processes = [start(APPLY_ALL, store_adapter, place, size) for size in (3, 7, 10, 10)]
    assert sum(int(output(process)) for process in processes) == 300
    store = open_store()
    positions = [Position(EVENTS_TOPIC, 0, offset) for offset in range(300)]
    found = store.journal_at(TOPIC_ID, positions)
    assert [found[position].outcome.value for position in positions] == ["applied"] * 105 + ["duplicate"] * 195
    assert [state.version for state in store.scan_states()] == [98, 99, 100, 101, 102, 103, 104]


def test_apply_refuses_a_zombie(open_store: Open, store: MemoryStore) -> None:
    """Of several that apply from the same position one succeeds; the others had their records passed."""
    clients = [store, store, open_store(), open_store()]
    with ThreadPoolExecutor(4) as pool:
        for round in range(10):
            same = batch(*(record(50 * round + more, more % 3, 50 * round + more) for more in range(50)))
            done = [pool.submit(client.apply, same) for client in clients]
            applied = [task.result() for task in done]
            assert sorted(len(item.decisions) for item in applied) == [0, 0, 0, 50]
            assert sorted(item.redelivered for item in applied) == [0, 50, 50, 50]
    assert store.stats()["journal"]["applied"] == 500


def test_one_batch_of_several_partitions(store: MemoryStore) -> None:
    first = run(record(0, 1), record(1, 1, 50, "updated"), start=0, end=4)
    second = run(record(0, 2, 60, partition=7), record(1, 2, 60, partition=7))
    applied = store.apply(Batch(TOPIC_ID, [second, first, run(partition=3, start=0, end=2)]))
    assert [decision.outcome.value for decision in applied.decisions] == ["applied", "duplicate", "applied", "applied"]
    assert [decision.entry.record.partition for decision in applied.decisions] == [7, 7, 0, 0]
    assert applied.positions == store.positions(TOPIC_ID) == {0: 4, 3: 2, 7: 2}
    assert outcomes(store, 1) == [(0, "applied"), (1, "applied")]
    again = store.apply(Batch(TOPIC_ID, [second, run(record(4, 1, 51, "updated"))]))
    assert (len(again.decisions), again.redelivered, again.positions[0]) == (1, 2, 5)


def test_a_gap_in_one_partition_refuses_the_whole_batch(store: MemoryStore) -> None:
    good, gap = run(record(0, 1)), run(record(3, 2, 9, partition=1))
    with pytest.raises(PositionMismatch) as refused:
        store.apply(Batch(TOPIC_ID, [good, gap]))
    assert (refused.value.partition, refused.value.stored) == (1, 0)
    assert store.positions(TOPIC_ID) == store.states([uid(1)]) == {}


def test_a_batch_of_nothing(store: MemoryStore) -> None:
    for runs in ([], [run(partition=2, start=0, end=0)]):
        applied = store.apply(Batch(TOPIC_ID, runs))
        assert (applied.decisions, applied.redelivered) == ([], 0)
    assert store.positions(TOPIC_ID) == {}


def test_partitions_have_positions_of_their_own(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1), record(1, 1)))
    store.apply(batch(record(0, 2, 90, partition=3)))
    assert store.positions(TOPIC_ID) == {0: 2, 3: 1}
    with pytest.raises(PositionMismatch):
        store.apply(batch(record(2, 2, 91, partition=3)))
    assert store.history(uid(2))[0].position == Position(EVENTS_TOPIC, 3, 0)


# --- journal -----------------------------------------------------------------------------------------------------

MIXED: list[Record] = [
    record(0, 1, 0),
    record(1, 1, 1, "updated", if_version=7),
    record(2, 1, 0, payload={"text": "another content"}),
    raw_record(3, uid(1).encode(), b"\xff\xfe not json"),
    raw_record(4, uid(1).encode(), None),
    raw_record(5, uid(1).encode(), event_value(1, 9, type="unheard of")),
    raw_record(6, b"\x00\xff", event_value(2, 9)),
    raw_record(7, None, event_value(2, 9)),
    record(8, 1, 2, "deleted", reason={"kind": "prune"}, actor="me"),
]


def test_one_outcome_a_position(store: MemoryStore) -> None:
    store.apply(batch(*MIXED[:5]))
    store.apply(batch(*MIXED[3:]))
    positions = [Position(EVENTS_TOPIC, 0, offset) for offset in range(-1, 12)]
    found = store.journal_at(TOPIC_ID, positions)
    assert {position.offset: entry.outcome.value for position, entry in found.items()} == {
        0: "applied",
        1: "ignored",
        2: "duplicate",
        **dict.fromkeys(range(3, 8), "rejected"),
        8: "applied",
    }
    assert store.stats()["journal"] == {"applied": 2, "duplicate": 1, "ignored": 1, "rejected": 5}


def test_history_tells_all_that_came_under_the_id(store: MemoryStore) -> None:
    store.apply(batch(*MIXED))
    history = store.history(uid(1))
    assert [entry.position.offset for entry in history] == [0, 1, 2, 3, 4, 5, 8]
    assert [entry.event for entry in history] == [
        *(MIXED[offset].value for offset in (0, 1, 2)),
        *(None, None, MIXED[5].value, MIXED[8].value),
    ]
    assert [entry.event_id for entry in history] == [
        *(uid(1_000_000), uid(1_000_001), uid(1_000_000), None, None, None, uid(1_000_002))
    ]
    assert [entry.type for entry in history] == ["created", "updated", "created", None, None, None, "deleted"]
    assert [entry.appended_at for entry in history] == [MIXED[entry.position.offset].appended_at for entry in history]
    assert all(entry.applied_at > entry.appended_at and entry.id == uid(1) for entry in history)
    assert history[0].note == ""
    assert "if_version is 7" in history[1].note
    assert all(entry.note for entry in history if entry.outcome in (Outcome.REJECTED, Outcome.IGNORED))
    assert store.history(uid(55)) == []


def test_journal_at_names_the_epoch(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1)))
    store.register_topic(EVENTS_TOPIC, "topic-2", new_epoch=True)
    store.apply(batch(record(0, 2), topic_id="topic-2"))
    position = Position(EVENTS_TOPIC, 0, 0)
    found = [store.journal_at(topic_id, [position])[position] for topic_id in (TOPIC_ID, "topic-2")]
    assert [(entry.id, entry.version) for entry in found] == [(uid(1), 0), (uid(2), version_of(1, 0))]
    assert store.journal_at(TOPIC_ID, []) == {}


def test_first_positions(store: MemoryStore) -> None:
    store.apply(batch(*MIXED))
    keys = [(uid(1), uid(1_000_000 + event)) for event in range(4)]
    found = store.first_positions([*keys, (uid(2), uid(1_000_000))])
    assert {key: entry.position.offset for key, entry in found.items()} == dict(zip(keys[:3], (0, 1, 8), strict=True))
    assert store.first_positions([]) == {}


def test_find_event(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1, 5), record(1, 2, 5), record(2, 1, 5), record(3, 1, 6)))
    found = store.find_event(uid(1_000_005))
    assert [(entry.id, entry.position.offset) for entry in found] == [(uid(1), 0), (uid(2), 1), (uid(1), 2)]
    assert store.find_event(uid(9)) == []


def test_trailing_rejects_of_a_partition(store: MemoryStore) -> None:
    assert store.trailing_rejects(TOPIC_ID, 0, 5) == 0
    bad = [raw_record(offset, b"k", b"?") for offset in range(8)]
    store.apply(batch(bad[0], bad[1], record(2, 1)))
    assert store.trailing_rejects(TOPIC_ID, 0, 5) == 0
    store.apply(batch(*bad[3:6]))
    assert store.trailing_rejects(TOPIC_ID, 0, 5) == 3
    store.apply(batch(*bad[6:]))
    store.apply(batch(raw_record(0, b"k", b"?", 1), record(1, 2, 9, partition=1)))
    assert store.trailing_rejects(TOPIC_ID, 0, 4) == 4
    assert store.trailing_rejects(TOPIC_ID, 0, 100) == 5
    assert store.trailing_rejects(TOPIC_ID, 1, 100) == 0
    store.register_topic(EVENTS_TOPIC, "topic-2", new_epoch=True)
    assert store.trailing_rejects("topic-2", 0, 100) == 0


# --- rows --------------------------------------------------------------------------------------------------------


def test_tombstones_stay(store: MemoryStore) -> None:
    store.apply(
        batch(record(0, 1, namespace="n", importance=2), record(1, 1, 1, "deleted"), record(2, 2, 2, "deleted"))
    )
    states = store.states([uid(1), uid(2)])
    dead = states[uid(1)]
    assert (dead.deleted, dead.payload, dead.version, dead.namespace, dead.importance) == (True, {}, 1, "n", 2.0)
    assert dead.created_at < dead.updated_at
    assert states[uid(2)].deleted
    assert list(store.scan_states()) == store.list_states(namespace=None, since=None, limit=9) == []
    assert [state.id for state in store.scan_states(deleted=True)] == [uid(1), uid(2)]
    stats = store.stats()
    assert (stats["memories"], stats["tombstones"]) == (0, 2)


def many(store: MemoryStore, count: int = 2300) -> None:
    store.apply(batch(*(record(offset, (offset * 7) % count, namespace=f"n{offset % 2}") for offset in range(count))))
    store.apply(batch(record(count, 5, count, "deleted"), record(count + 1, 9, count + 1, namespace="n1")))


def test_scan_states_in_order_of_id(store: MemoryStore) -> None:
    many(store)
    alive = [uid(number) for number in range(2300) if number != 5]
    assert [state.id for state in store.scan_states()] == alive
    assert [state.id for state in store.scan_states(deleted=True)] == sorted([*alive, uid(5)])
    of_one = list(store.scan_states(namespace="n1"))
    assert {state.namespace for state in of_one} == {"n1"}
    assert len(of_one) + len(list(store.scan_states(namespace="n0"))) == 2299
    assert list(store.scan_states(namespace="none")) == []


def test_scan_states_from_the_first_id_to_the_last(store: MemoryStore) -> None:
    ids = [f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "0f"]
    extremes = [raw_record(offset, id.encode(), event_value(0, offset, id=id)) for offset, id in enumerate(ids)]
    store.apply(batch(*extremes, *(record(2 + number, number) for number in range(1998))))
    scanned = [state.id for state in store.scan_states()]
    assert (len(scanned), scanned[0], scanned[-1]) == (2000, *ids)


def test_scan_states_goes_on_while_others_write(open_store: Open, store: MemoryStore) -> None:
    many(store)
    states = store.scan_states()
    first = next(states)
    open_store().apply(batch(record(2302, 1, 90_000, "deleted")))
    assert len([first, *states]) in (2298, 2299)


def test_list_states_newest_version_first(store: MemoryStore) -> None:
    many(store)
    newest = store.list_states(namespace=None, since=None, limit=1500)
    versions = [state.version for state in newest]
    assert len(versions) == 1500
    assert versions == sorted(versions, reverse=True)
    assert newest[0].id == uid(9)
    assert {state.namespace for state in store.list_states(namespace="n1", since=None, limit=5000)} == {"n1"}
    since = newest[10].updated_at
    assert [state.version for state in store.list_states(namespace=None, since=since, limit=99)] == versions[:11]
    assert len(store.list_states(namespace="n0", since=None, limit=3)) == 3
    assert store.list_states(namespace=None, since=None, limit=0) == []


def test_list_states_newest_first_across_partitions(store: MemoryStore) -> None:
    """Offsets of two partitions say nothing of which is newer."""
    later = record(0, 2, partition=1)._replace(appended_at=FIRST_INSTANT + 3_600_000_000)
    store.apply(batch(record(0, 1), record(1, 1), record(2, 3)))
    store.apply(batch(later))
    for namespace in (None, "default"):
        found = store.list_states(namespace=namespace, since=None, limit=2)
        assert [state.id for state in found] == [uid(2), uid(3)]


def test_stats_count_namespaces(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1, namespace="b"), record(1, 2, namespace="a"), record(2, 3, namespace="a")))
    stats = store.stats()
    assert stats["memories"] == 3
    assert [(item["namespace"], item["memories"]) for item in stats["namespaces"]] == [("a", 2), ("b", 1)]


def test_values_at_the_limits_are_kept(store: MemoryStore) -> None:
    payload = {
        "max": 2**64 - 1,
        "min": -(2**63),
        "tiny": 5e-324,
        "zero": -0.0,
        "large": 1e20,
        "a": 1.0,
        "text": "\u2028\U0001f600\x01" * 9,
    }
    store.apply(batch(record(0, 1, payload=payload, importance=1.7976931348623157e308, namespace="\x01'\"; --")))
    state = store.states([uid(1)])[uid(1)]
    assert state.payload == payload
    assert str(state.payload["zero"]) == "-0.0"
    assert state.payload_json == serialize(payload)
    assert (state.importance, state.namespace) == (1.7976931348623157e308, "\x01'\"; --")


# --- topics ------------------------------------------------------------------------------------------------------


def test_register_topic_numbers_epochs(open_store: Open) -> None:
    store = open_store()
    assert store.register_topic(EVENTS_TOPIC, "a") == 0
    assert open_store().register_topic(EVENTS_TOPIC, "a") == 0
    with pytest.raises(LogReplaced):
        store.register_topic(EVENTS_TOPIC, "b")
    assert store.register_topic(EVENTS_TOPIC, "a", new_epoch=True) == 0
    assert store.register_topic(EVENTS_TOPIC, "b", new_epoch=True) == 1
    assert [open_store().register_topic(EVENTS_TOPIC, id) for id in ("b", "a", "b")] == [1, 0, 1]
    assert store.positions("a") == store.positions("b") == {}


def test_register_topic_by_many_at_once(open_store: Open) -> None:
    stores = [open_store() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda store: store.register_topic(EVENTS_TOPIC, "a"), stores)) == [0] * 6


# --- access statistics -------------------------------------------------------------------------------------------


def test_access_is_counted(open_store: Open, store: MemoryStore) -> None:
    assert store.access([uid(1)]) == {}
    store.record_access([uid(1), uid(2)], 100)
    open_store().record_access([uid(1)], 300)
    store.record_access([uid(1)], 200)
    store.record_access([], 900)
    assert open_store().access([uid(1), uid(2), uid(3)]) == {uid(1): Access(300, 3), uid(2): Access(100, 1)}


def test_access_is_counted_while_kv_writes(store: MemoryStore) -> None:
    with ThreadPoolExecutor(5) as pool:
        counting = [pool.submit(store.record_access, [uid(1)], instant) for instant in range(40)]
        for offset in range(20):
            store.apply(batch(record(offset, 1)))
        for task in counting:
            task.result()
    assert store.access([uid(1)]) == {uid(1): Access(39, 40)}


def test_access_is_untouched_by_writes_and_deletes(store: MemoryStore) -> None:
    store.apply(batch(record(0, 1)))
    store.record_access([uid(1)], 100)
    store.apply(batch(record(1, 1, 1, "updated"), record(2, 1, 2, "deleted")))
    assert store.access([uid(1)]) == {uid(1): Access(100, 1)}
