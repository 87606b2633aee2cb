"""The promises of the port VectorIndex, for every adapter; a rebuild beside it is in test_index_shadow.py."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex
from soma_cli.core.errors import ValueRefused
from soma_cli.core.ports import IndexIdentity, IndexQuery, PointSummary, SearchMode, VectorIndex
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, found, point, tombstone
from tests.contracts.vector_indexes import ADAPTERS, SERVER, Open
from tests.contracts.vector_indexes import index as index
from tests.contracts.vector_indexes import open_index as open_index

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


@pytest.mark.skipif(
    not SERVER, reason="no Qdrant server: no package carries it; SOMA_TEST_QDRANT gives the address of one"
)
def test_every_promise_is_tried_on_a_server_too() -> None:
    assert ADAPTERS[-1].id == "qdrant_server"


# --- write -------------------------------------------------------------------------------------------------------


def test_write_never_goes_back(index: VectorIndex) -> None:
    index.write([point(1, 5, "middle")], TOPIC, {})
    index.write([point(1, 4, "older"), point(2, 1, "bystander")], TOPIC, {})
    assert index.versions([uid(1), uid(2), uid(3)]) == {uid(1): 5, uid(2): 1}
    assert (found(index, "older"), found(index, "middle")) == ([], [uid(1)])
    index.write([point(1, 6, "newer")], TOPIC, {})
    assert (found(index, "middle"), found(index, "newer")) == ([], [uid(1)])


def test_write_never_goes_back_for_an_equal_version_writes_again(index: VectorIndex) -> None:
    index.write([point(1, 5, "first")], TOPIC, {})
    index.write([point(1, 5, "second")], TOPIC, {})
    assert (found(index, "first"), found(index, "second")) == ([], [uid(1)])


def test_write_never_goes_back_within_a_batch(index: VectorIndex) -> None:
    index.write([point(1, 5, "old"), point(1, 7, "newest"), point(1, 6, "late")], TOPIC, {})
    assert index.versions([uid(1)]) == {uid(1): 7}
    assert (found(index, "newest"), found(index, "late")) == ([uid(1)], [])


def test_write_never_goes_back_in_any_order(index: VectorIndex) -> None:
    shuffle = random.Random(4)
    writes = [point(n, v, f"text{v}") for n in range(8) for v in range(1, 9)]
    shuffle.shuffle(writes)
    for at in range(0, len(writes), 5):
        index.write(writes[at : at + 5], TOPIC, {})
    assert index.versions([uid(n) for n in range(8)]) == {uid(n): 8 for n in range(8)}
    assert sorted(found(index, "text8")) == sorted(uid(n) for n in range(8))
    assert found(index, "text7") == []


def test_write_never_goes_back_at_versions_of_many_epochs(index: VectorIndex) -> None:
    high = 4095 * 2**40 + 17
    index.write([point(1, high, "high")], TOPIC, {})
    index.write([point(1, high - 1, "one below")], TOPIC, {})
    assert index.versions([uid(1)]) == {uid(1): high}


def test_tombstones_stay(index: VectorIndex) -> None:
    index.write([point(1, 5, "secret", [1.0, 0.0]), point(2, 6, "public", [0.0, 1.0])], TOPIC, {})
    index.write([tombstone(1, 7)], TOPIC, {})
    index.write([point(1, 5, "secret", [1.0, 0.0])], TOPIC, {})
    assert index.versions([uid(1)]) == {uid(1): 7}
    assert found(index, "secret") == []
    assert found(index, embedding=[1.0, 0.0]) == [uid(2)]
    assert found(index, "secret", [1.0, 0.0]) == [uid(2)]
    assert [(p.id, p.deleted, p.dense) for p in index.scan()] == [(uid(1), True, False), (uid(2), False, True)]
    assert index.count() == 1
    index.write([point(1, 8, "revived")], TOPIC, {})
    assert (found(index, "revived"), index.count()) == ([uid(1)], 2)


def test_a_tombstone_has_neither_text_nor_embedding_whatever_it_is_given(index: VectorIndex) -> None:
    index.write([point(1, 1, "words", [1.0, 0.0]), point(2, 2, "words", [1.0, 0.0], deleted=True)], TOPIC, {})
    assert found(index, "words") == found(index, embedding=[1.0, 0.0]) == [uid(1)]


def test_position_follows_points(index: VectorIndex, open_index: Open) -> None:
    assert index.positions(TOPIC) == {}
    index.write([point(1, 1, "one")], TOPIC, {0: 5, 1: 2})
    index.write([point(2, 2, "two")], TOPIC, {0: 3, 1: 4})
    assert index.positions(TOPIC) == {0: 5, 1: 4}, "a position fell"
    index.write([], TOPIC, {2: 9})
    index.write([], "topic-2", {0: 1})
    index.close()
    again = open_index()
    assert (again.positions(TOPIC), again.positions("topic-2")) == ({0: 5, 1: 4, 2: 9}, {0: 1})
    assert again.versions([uid(1), uid(2)]) == {uid(1): 1, uid(2): 2}


def test_position_follows_points_and_stays_where_they_are_refused(index: VectorIndex) -> None:
    index.write([], TOPIC, {0: 1})
    with pytest.raises(ValueRefused):
        index.write([point(1, 1, "fine"), point(2, 2, "bad", [float("nan"), 0.0])], TOPIC, {0: 9})
    assert index.positions(TOPIC) == {0: 1}
    assert index.versions([uid(1)]) == {}


def test_one_model_a_collection(index: VectorIndex, open_index: Open) -> None:
    model = IndexIdentity("model@1", 3)
    assert index.identity() == UNSETTLED
    index.adopt(model)
    index.adopt(model)
    index.write([point(1, 1, "one", [1.0, 0.0, 0.0])], TOPIC, {0: 1})
    for wrong in ([1.0, 0.0], [1.0, 0.0, 0.0, 0.0], []):
        with pytest.raises(ValueRefused) as refused:
            index.write([point(2, 2, "two", wrong)], TOPIC, {0: 2})
        assert refused.value.pointer == "/embedding"
    for other in (IndexIdentity("model@2", 3), IndexIdentity("model@1", 4), IndexIdentity(None, 3)):
        with pytest.raises(ValueRefused):
            index.adopt(other)
    with pytest.raises(ValueRefused):
        found(index, embedding=[1.0, 0.0])
    assert index.positions(TOPIC) == {0: 1}
    assert open_index().identity() == model


def test_one_model_a_collection_settled_by_the_first_embedding(open_index: Open) -> None:
    index = open_index(identity=IndexIdentity("model@1", None))
    index.write([point(1, 1, "text only")], TOPIC, {})
    assert index.identity() == IndexIdentity("model@1", None)
    with pytest.raises(ValueRefused):
        index.adopt(IndexIdentity("model@2", 2))
    with pytest.raises(ValueRefused):
        index.write([point(2, 2, "", [1.0, 0.0]), point(3, 3, "", [1.0, 0.0, 0.0])], TOPIC, {})
    index.write([point(2, 2, "", [1.0, 0.0])], TOPIC, {})
    assert index.identity() == IndexIdentity("model@1", 2)
    assert found(index, embedding=[1.0, 0.0]) == [uid(2)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e39, -1e300, 2e19])
def test_values_beyond_a_float32_vector_are_refused(index: VectorIndex, bad: float) -> None:
    """2e19 fits a 32-bit float, its square does not: the engine would store such a vector as zeros."""
    index.adopt(IndexIdentity("m", 2))
    with pytest.raises(ValueRefused) as refused:
        index.write([point(1, 1, "text", [0.5, bad])], TOPIC, {0: 1})
    assert (refused.value.pointer or "").startswith("/embedding")
    assert uid(1) in refused.value.message
    with pytest.raises(ValueRefused):
        found(index, embedding=[0.5, bad])
    assert index.versions([uid(1)]) == {}


def test_an_id_that_is_no_uuid_is_refused(index: VectorIndex) -> None:
    with pytest.raises(ValueRefused):
        index.write([point(1, 1)._replace(id="not-a-uuid")], TOPIC, {})
    assert index.versions(["not-a-uuid", uid(1)]) == {}


# --- search ------------------------------------------------------------------------------------------------------

FILTERS: list[tuple[dict[str, Any], set[int]]] = [
    ({}, {0, 1, 2, 3, 4, 5}),
    ({"namespace": "a"}, {0, 1, 2}),
    ({"namespace": "nobody"}, set()),
    ({"importance_min": 2.0}, {2, 3, 4, 5}),
    ({"created_from": 1_700_000_000_000_003}, {3, 4, 5}),
    ({"created_to": 1_700_000_000_000_003}, {0, 1, 2, 3}),
    ({"created_from": 1_700_000_000_000_002, "created_to": 1_700_000_000_000_004, "namespace": "b"}, {3, 4}),
]


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_search_filters(index: VectorIndex, mode: SearchMode, filters: dict[str, Any], expected: set[int]) -> None:
    points = [
        point(n, 1, "common words", [1.0, n / 9], namespace="ab"[n // 3], importance=float(n), created_at=BASE + n)
        for n in range(6)
    ]
    index.write(points, TOPIC, {})
    assert set(found(index, "common", [1.0, 0.0], mode=mode, **filters)) == {uid(n) for n in expected}


BASE = 1_700_000_000_000_000


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_search_filters_before_it_counts_to_the_limit(index: VectorIndex, mode: SearchMode) -> None:
    """All the better hits are in the other namespace."""
    better = [point(n, 1, "needle", [1.0, 0.0], namespace="other") for n in range(300)]
    worse = [point(n, 1, "needle " + "hay " * 40, [0.1, 1.0], namespace="mine") for n in range(300, 305)]
    index.write(better + worse, TOPIC, {})
    assert len(found(index, "needle", [1.0, 0.0], mode=mode, namespace="mine", limit=3)) == 3
    assert found(index, "needle", [1.0, 0.0], mode=mode, limit=0) == []
    assert found(index, "needle", [1.0, 0.0], mode=mode, limit=-1) == []
    assert len(found(index, "needle", [1.0, 0.0], mode=mode, limit=250)) == 250


def test_lexical_search_ranks_and_stems(index: VectorIndex) -> None:
    index.write(
        [
            point(1, 1, "Alice prefers window seats"),
            point(2, 2, "Bob prefers the aisle"),
            point(3, 3, "a Café in Zürich"),
        ],
        TOPIC,
        {},
    )
    assert found(index, "where does Alice like to sit: window seating?") == [uid(1)]
    assert found(index, "preferred aisles")[0] == uid(2)
    assert found(index, "cafe zurich") == [uid(3)]
    hit = index.search(IndexQuery("lexical", 1, "Bob"))[0]
    assert (hit.version, hit.score > 0) == (2, True)


@pytest.mark.parametrize("text", ["", "the of and", " \t\n", "?!"])
def test_a_search_for_nothing_finds_nothing(index: VectorIndex, text: str) -> None:
    index.write([point(1, 1, "the one"), point(2, 2, "")], TOPIC, {})
    assert index.search(IndexQuery("lexical", 5, text)) == []
    assert index.search(IndexQuery("hybrid", 5, text)) == []
    assert index.search(IndexQuery("dense", 5, "the one", [1.0])) == [], "there are no dense vectors yet"


def test_a_memory_without_words_is_indexed_and_found_by_its_embedding(index: VectorIndex) -> None:
    index.write([point(1, 1, "", [1.0, 0.0]), point(2, 2, "the", None)], TOPIC, {})
    assert index.count() == 2
    assert found(index, embedding=[1.0, 0.1]) == [uid(1)]


def test_hybrid_search_fuses_both_ranks(index: VectorIndex) -> None:
    index.write(
        [point(1, 1, "apple", [0.0, 1.0]), point(2, 2, "apple pie", [0.9, 0.1]), point(3, 3, "pear", [1.0, 0.0])]
        + [point(n, n, "pear", [0.5, 0.5]) for n in range(4, 9)],
        TOPIC,
        {},
    )
    assert found(index, "apple", [1.0, 0.0])[0] == uid(2), "second in both beats first in one"
    assert set(found(index, "apple", [1.0, 0.0])) == {uid(n) for n in range(1, 9)}
    assert found(index, "the", [1.0, 0.0], mode="hybrid")[0] == uid(3)
    assert set(found(index, "apple", None, mode="hybrid")) == {uid(1), uid(2)}


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_every_adapter_finds_the_same_with_the_same_scores(
    index: VectorIndex, tmp_path: Path, mode: SearchMode
) -> None:
    words, chance = ["window", "seat", "aisle", "coffee", "tea", "Zürich", "train", "plane"], random.Random(7)
    points = [
        point(n, n, " ".join(chance.choices(words, k=n % 9 + 1)), [chance.uniform(-1, 1), chance.uniform(-1, 1)])
        for n in range(60)
    ]
    edge_index = QdrantEdgeIndex(tmp_path / "beside")
    for each in (index, edge_index):
        each.write(points, TOPIC, {0: 60})
        each.write([tombstone(n, 100 + n) for n in range(0, 60, 7)], TOPIC, {0: 160})
    query = IndexQuery(mode, 60, "tea on the train", [0.6, -0.8], importance_min=0.5)
    scores = [{hit.id: hit.score for hit in each.search(query)} for each in (index, edge_index)]
    edge_index.close()
    assert len(scores[0]) > 10
    assert scores[0] == pytest.approx(scores[1], abs=1e-5 if mode != "hybrid" else 3e-3)


# --- reading -----------------------------------------------------------------------------------------------------


def test_scan_yields_every_point_in_order_of_id(index: VectorIndex) -> None:
    numbers = list(range(2300))
    random.Random(1).shuffle(numbers)
    points = [
        point(n, n + 1, "x", [1.0, 2.0] if n % 3 == 0 else None, namespace=f"n{n % 2}", importance=n / 2)
        for n in numbers
    ]
    index.write(points, TOPIC, {})
    assert list(index.scan()) == [
        PointSummary(uid(n), n + 1, False, f"n{n % 2}", n / 2, n % 3 == 0) for n in range(2300)
    ]


def test_stats_count_what_is_there(index: VectorIndex) -> None:
    assert index.count() == 0
    index.write([point(1, 1, "a"), point(2, 2, "b"), tombstone(3, 3)], TOPIC, {})
    stats = index.stats()
    assert (stats["points"], stats["tombstones"]) == (2, 1)
    assert (stats["model_revision"], stats["dimension"]) == (None, None)
    json.dumps(stats)


def test_released_and_closed_indexes_are_taken_again(index: VectorIndex, open_index: Open) -> None:
    index.write([point(1, 1, "kept")], TOPIC, {0: 1})
    index.release()
    other = open_index()
    assert found(other, "kept") == [uid(1)]
    other.release()
    assert found(index, "kept") == [uid(1)]
