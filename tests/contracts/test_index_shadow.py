"""The promises of the port IndexShadow, for every adapter."""

from __future__ import annotations

import threading

import pytest

from soma_cli.core.errors import ServiceUnavailable, ValueRefused
from soma_cli.core.ports import IndexIdentity, VectorIndex
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, fill, first_partition, found, point, tombstone
from tests.contracts.vector_indexes import Open
from tests.contracts.vector_indexes import index as index
from tests.contracts.vector_indexes import open_index as open_index

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


def test_shadow_is_invisible(index: VectorIndex, open_index: Open) -> None:
    fill(index, point(1, 1, "live word"), position=2)
    shadow = index.shadow(IndexIdentity("new@1", 2))
    fill(shadow, point(2, 2, "made word", [1.0, 0.0]), position=3)
    assert found(index, "word") == [uid(1)]
    assert (index.positions(TOPIC), shadow.positions(TOPIC)) == ({0: 2}, {0: 3})
    assert (index.identity(), shadow.identity()) == (UNSETTLED, IndexIdentity("new@1", 2))
    assert index.count() == 1
    other = open_index()
    assert found(other, "word") == [uid(1)]
    shadow.swap(lambda: fill(shadow, point(3, 3, "late word"), position=4))
    for each in (index, other, open_index()):
        assert sorted(found(each, "word")) == [uid(2), uid(3)]
        assert each.versions([uid(1)]) == {}
        assert (each.positions(TOPIC), each.identity()) == ({0: 4}, IndexIdentity("new@1", 2))
    fill(index, point(4, 4, "word after"), position=5)
    assert uid(4) in found(other, "word")


def test_shadow_is_invisible_when_discarded(index: VectorIndex) -> None:
    fill(index, point(1, 1, "live"))
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(2, 2, "made"))
    shadow.discard()
    shadow.discard()
    assert found(index, "live made") == [uid(1)]
    again = index.shadow(UNSETTLED)
    assert again.positions(TOPIC) == {}, "the new shadow is not empty"
    again.discard()


def test_shadow_is_invisible_when_the_swap_fails(index: VectorIndex) -> None:
    fill(index, point(1, 1, "live"))
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(2, 2, "made"))

    def broken() -> None:
        raise ServiceUnavailable("the log is away")

    with pytest.raises(ServiceUnavailable):
        shadow.swap(broken)
    assert found(index, "live made") == [uid(1)]
    shadow.swap(lambda: None)
    assert found(index, "live made") == [uid(2)]


def test_a_shadow_is_written_like_the_live_one(index: VectorIndex) -> None:
    shadow = index.shadow(UNSETTLED)
    shadow.adopt(IndexIdentity("m", 2))
    fill(shadow, point(1, 5, "newer"), tombstone(2, 6))
    fill(shadow, point(1, 4, "older"), point(2, 3, "gone"), position=50)
    with pytest.raises(ValueRefused):
        fill(shadow, point(3, 7, "x", [1.0, 2.0, 3.0]), position=200)
    with pytest.raises(ValueRefused):
        shadow.adopt(IndexIdentity("m2", 2))
    assert shadow.positions(TOPIC) == {0: 100}
    shadow.swap(lambda: None)
    assert index.versions([uid(1), uid(2), uid(3)]) == {uid(1): 5, uid(2): 6}
    assert found(index, "newer older gone") == [uid(1)]
    assert index.positions(TOPIC) == {0: 100}


def test_compare_names_what_differs(index: VectorIndex) -> None:
    shadow = index.shadow(IndexIdentity("m", 2))
    index.adopt(IndexIdentity("m", 2))
    same = [point(1, 1, "same", [1.0, 0.0]), tombstone(2, 2)]
    fill(
        shadow,
        *same,
        point(3, 3, "x"),
        point(4, 4, "x"),
        point(5, 5, "x"),
        point(6, 6, "x"),
        point(7, 7, "x", [1.0, 0.0]),
    )
    fill(
        index,
        *same,
        point(4, 2, "x"),
        point(5, 5, "x", namespace="other"),
        point(6, 6, "x", importance=3.0),
        point(7, 7, "x"),
        point(8, 8, "x"),
        tombstone(9, 9),
    )
    found = shadow.compare(first_partition)
    assert (found.missing, found.extra, found.different, found.journal, found.total) == (1, 1, 4, 0, 6)
    assert found.compared == 9
    assert found.examples == {
        "missing": [uid(3)],
        "extra": [uid(8)],
        "different": [uid(4), uid(5), uid(6), uid(7)],
    }
    shadow.discard()


def test_compare_takes_deleted_and_absent_for_the_same(index: VectorIndex) -> None:
    shadow = index.shadow(UNSETTLED)
    fill(shadow, tombstone(1, 1), tombstone(3, 3), tombstone(4, 4))
    fill(index, tombstone(2, 2), tombstone(3, 3), point(4, 3, "still here"))
    found = shadow.compare(first_partition)
    assert (found.total, found.examples) == (1, {"different": [uid(4)]})
    shadow.discard()


def test_compare_leaves_out_what_only_one_side_can_have_seen(index: VectorIndex) -> None:
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "x"), point(2, 2, "x"), position=5)
    fill(index, point(1, 1, "x"), point(2, 7, "x"), point(3, 6, "x"), position=8)
    assert shadow.compare(first_partition).total == 0
    fill(index, point(4, 4, "x"), point(5, 8, "x"), position=8)
    assert shadow.compare(first_partition).examples == {"extra": [uid(4), uid(5)]}
    shadow.discard()


def test_compare_looks_at_the_position_of_the_memory_s_own_partition(index: VectorIndex) -> None:
    """Versions 3 and 8 lie between the two positions of one partition each, and were passed in the other."""
    shadow = index.shadow(UNSETTLED)
    shadow.write([], TOPIC, {0: 5, 1: 2})
    index.write([point(n, v, "x") for n, v in ((1, 3), (2, 3), (3, 8), (4, 8))], TOPIC, {0: 10, 1: 5})
    found = shadow.compare(lambda ids: [{uid(1): 0, uid(2): 1, uid(3): 0, uid(4): 1}[id] for id in ids])
    assert found.examples == {"extra": [uid(1), uid(4)]}
    shadow.discard()


def test_compare_takes_a_partition_without_position_for_one_that_was_not_passed(index: VectorIndex) -> None:
    shadow = index.shadow(UNSETTLED)
    fill(shadow, position=5)
    index.write([point(1, 0, "x")], TOPIC, {0: 5, 1: 1})
    assert shadow.compare(lambda ids: [1] * len(ids)).total == 0
    assert shadow.compare(first_partition).examples == {"extra": [uid(1)]}
    shadow.discard()


def test_compare_while_a_worker_writes(index: VectorIndex) -> None:
    shadow = index.shadow(UNSETTLED)
    points = [point(n, n, "x") for n in range(3000)]
    fill(shadow, *points, position=3000)
    fill(index, *points, position=3000)
    done = threading.Event()

    def work() -> None:
        version = 3000
        while not done.is_set():
            index.write([point(version % 3000, version, "y")], TOPIC, {0: version + 1})
            version += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert shadow.compare(first_partition).total == 0
    finally:
        done.set()
        worker.join()
    shadow.discard()
