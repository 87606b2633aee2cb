"""The promises of the port StoreShadow, for every adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.event import version_of
from soma_cli.core.ports import Access, MemoryStore, StoreShadow
from soma_cli.core.record import EVENTS_TOPIC, Record
from tests.contracts.events import TOPIC_ID, batch, raw_record, record, uid
from tests.contracts.processes import output, start

Open = Callable[[], MemoryStore]

LOG: list[Record] = [
    record(0, 1),
    record(1, 2, namespace="n", model_revision="m"),
    record(2, 1, 0),
    raw_record(3, uid(1).encode(), b"not json"),
    record(4, 2, 4, "updated"),
    record(5, 3, 5, "updated"),
    record(6, 4),
    record(7, 4, 7, "deleted"),
]


def nothing(positions: dict[int, int]) -> None:
    """The shadow is at the live position already."""


def content(store: MemoryStore, memories: int = 10) -> object:
    """All that a reader sees, but for the times at which kv wrote it."""
    journal = [entry._replace(applied_at=0) for number in range(memories) for entry in store.history(uid(number))]
    stats = {name: value for name, value in store.stats().items() if name != "table_bytes"}
    return list(store.scan_states(deleted=True)), journal, store.positions(TOPIC_ID), stats


@pytest.fixture
def live(store: MemoryStore) -> MemoryStore:
    store.apply(batch(*LOG))
    return store


def test_a_shadow_is_invisible_until_swap(live: MemoryStore) -> None:
    before = content(live)
    shadow = live.shadow(TOPIC_ID)
    assert shadow.positions(TOPIC_ID) == {}
    shadow.apply(batch(*(record(offset, 9) for offset in range(8))))
    assert shadow.positions(TOPIC_ID) == {0: 8}
    assert content(live) == before
    shadow.discard()
    assert content(live) == before


def test_a_shadow_of_the_same_log_does_not_differ(live: MemoryStore) -> None:
    shadow = live.shadow(TOPIC_ID)
    for offset in range(0, 8, 3):
        shadow.apply(batch(*LOG[offset : offset + 3]))
    difference = shadow.compare(nothing)
    assert (difference.compared, difference.total) == (3, 0)
    assert not any(difference.examples.values())
    shadow.discard()


def test_compare_names_what_differs(live: MemoryStore) -> None:
    """The shadow stands for the log; the live side lacks 7, has 1 too many and another 2."""
    shadow = live.shadow(TOPIC_ID)
    others = [record(0, 7), record(1, 2, namespace="n"), record(2, 7, 0), LOG[3], record(4, 2, 4, "updated"), *LOG[5:]]
    others[4] = record(4, 2, 4, "updated", importance=9)
    shadow.apply(batch(*others))
    difference = shadow.compare(nothing)
    assert (difference.missing, difference.extra, difference.different) == (1, 1, 1)
    assert difference.examples == {"missing": [uid(7)], "extra": [uid(1)], "different": [uid(2)]}
    assert difference.journal == 4
    assert difference.total == 7
    shadow.discard()


def test_compare_catches_up_with_the_live_position(live: MemoryStore, open_store: Open) -> None:
    shadow = live.shadow(TOPIC_ID)
    shadow.apply(batch(*LOG[:4]))
    asked: list[dict[int, int]] = []

    def catch_up(positions: dict[int, int]) -> None:
        asked.append(positions)
        shadow.apply(batch(*LOG[4:]))

    assert shadow.compare(catch_up).total == 0
    assert asked == [{0: 8}]
    shadow.discard()


def test_swap_puts_rows_journal_and_position_in_place(live: MemoryStore, open_store: Open) -> None:
    other = open_store()
    list(other.scan_states())
    shadow = live.shadow(TOPIC_ID)
    shadow.apply(batch(*LOG[:6]))
    rebuilt = [record(6, 5), record(7, 1, 99, "updated")]
    shadow.swap(lambda positions: [shadow.apply(batch(*rebuilt))][0] and None)
    for store in (live, other, open_store()):
        assert [state.id for state in store.scan_states(deleted=True)] == [uid(1), uid(2), uid(5)]
        assert store.states([uid(1)])[uid(1)].version == 7
        assert store.positions(TOPIC_ID) == {0: 8}
        assert store.history(uid(4)) == []
        assert [entry.position.offset for entry in store.history(uid(1))] == [0, 2, 3, 7]


def test_what_is_swapped_in_lives_on(live: MemoryStore, open_store: Open) -> None:
    before = content(live)
    for round in range(3):
        shadow = live.shadow(TOPIC_ID)
        shadow.apply(batch(*LOG, *(record(8 + more, 5) for more in range(round))))
        assert shadow.compare(nothing).total == 0
        shadow.swap(nothing)
        if round == 0:
            assert content(live) == before
        live.apply(batch(record(8 + round, 5)))
        assert live.apply(batch(*LOG)).redelivered == 8
    assert live.stats()["memories"] == 3
    assert [state.version for state in live.list_states(namespace=None, since=None, limit=9)] == [10, 4, 0]


def test_swap_keeps_the_access_statistics(live: MemoryStore) -> None:
    live.record_access([uid(1), uid(9)], 100)
    shadow = live.shadow(TOPIC_ID)
    shadow.swap(lambda positions: [shadow.apply(batch(*LOG))][0] and None)
    assert live.access([uid(1), uid(9)]) == {uid(1): Access(100, 1), uid(9): Access(100, 1)}


def test_a_failed_catch_up_changes_nothing(live: MemoryStore) -> None:
    before = content(live)
    shadow = live.shadow(TOPIC_ID)

    def fail(positions: dict[int, int]) -> None:
        shadow.apply(batch(*LOG[:3]))
        raise ServiceUnavailable("the log is away")

    for step in (shadow.swap, shadow.compare):
        with pytest.raises(ServiceUnavailable, match="the log is away"):
            step(fail)
        assert content(live) == before
        assert shadow.positions(TOPIC_ID) == {}
    shadow.discard()


def test_one_shadow_at_a_time(live: MemoryStore, open_store: Open) -> None:
    shadow = live.shadow(TOPIC_ID)
    for client in (live, open_store()):
        with pytest.raises(ServiceUnavailable, match="another rebuild"):
            client.shadow(TOPIC_ID)
    shadow.discard()
    shadow.discard()
    open_store().shadow(TOPIC_ID).discard()


DIE_IN_A_REBUILD = """
store = STORES[ADAPTER](PLACE)
shadow = store.shadow(TOPIC_ID)
shadow.apply(batch(*(record(offset, 9) for offset in range(int(ARGUMENTS[1])))))
def die(positions):
    print(len(positions), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if ARGUMENTS[0] == "swap":
    shadow.swap(die)
die({})
"""


@pytest.mark.parametrize("step", ["apply", "swap"])
def test_a_rebuild_that_died_leaves_nothing(
    live: MemoryStore, store_adapter: str, place: Path, open_store: Open, step: str
) -> None:
    before = content(live)
    output(start(DIE_IN_A_REBUILD, store_adapter, place, step, 8), killed=True)
    assert content(open_store()) == before
    shadow = live.shadow(TOPIC_ID)
    assert shadow.positions(TOPIC_ID) == {}
    shadow.apply(batch(*LOG))
    assert shadow.compare(nothing).total == 0
    shadow.swap(nothing)
    assert content(open_store()) == before


def test_live_workers_go_on_beside_a_shadow(live: MemoryStore, open_store: Open) -> None:
    shadow = live.shadow(TOPIC_ID)
    shadow.apply(batch(*LOG[:5]))
    later = record(8, 1, 8, "updated")
    assert open_store().apply(batch(later)).positions == {0: 9}
    shadow.apply(batch(*LOG[5:], later))
    assert shadow.compare(nothing).total == 0
    shadow.discard()


# --- a log that was replaced -------------------------------------------------------------------------------------

SECOND: list[Record] = [
    record(0, 1, 50, "updated"),
    record(1, 2, 4, "updated"),
    record(2, 6, 51),
    record(3, 4, 52, "updated"),
    record(4, 4, 53, "created"),
    record(5, 2, 54, "updated", if_version=4),
]


@pytest.fixture
def replaced(live: MemoryStore) -> MemoryStore:
    """Memories 1, 2 and 4 of the first log were changed, or changes to them refused, in the second."""
    live.register_topic(EVENTS_TOPIC, "topic-2", new_epoch=True)
    live.apply(batch(*SECOND, topic_id="topic-2"))
    return live


def second(shadow: StoreShadow) -> StoreShadow:
    shadow.apply(batch(*SECOND, topic_id="topic-2"))
    return shadow


def test_a_shadow_of_a_later_log_continues_the_earlier_one(replaced: MemoryStore) -> None:
    before = content(replaced)
    assert replaced.states([uid(2)])[uid(2)].version == version_of(1, 5)
    shadow = second(replaced.shadow("topic-2"))
    difference = shadow.compare(nothing)
    assert (difference.total, difference.compared) == (0, 4)
    shadow.swap(nothing)
    assert content(replaced) == before
    assert replaced.positions("topic-2") == {0: 6}
    again = second(replaced.shadow("topic-2"))
    assert again.compare(nothing).total == 0
    again.discard()
