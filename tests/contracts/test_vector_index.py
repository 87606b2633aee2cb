"""The promises of the ports VectorIndex and IndexShadow, for every adapter; then what the embedded one adds to them."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex
from soma_cli.core.errors import ConfigurationError, DataFolderError, ServiceUnavailable, ValueRefused
from soma_cli.core.ports import (
    IndexIdentity,
    IndexPoint,
    IndexQuery,
    IndexShadow,
    PointSummary,
    SearchMode,
    VectorIndex,
)
from tests.contracts.qdrant_indexes import OnServer, in_memory
from tests.services import qdrant_url
from tests.services.containers import engine_answers

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

ROOT = Path(__file__).parents[2]
UNSETTLED = IndexIdentity(None, None)
TOPIC = "topic-1"

Open = Callable[..., VectorIndex]
"""Open the same collection again, as another client would; `identity` shapes it where there is none yet."""


def edge(tmp_path: Path) -> Open:
    return lambda identity=UNSETTLED: QdrantEdgeIndex(tmp_path / "index", identity=identity)


def qdrant(tmp_path: Path) -> Open:
    return in_memory()


def qdrant_server(tmp_path: Path) -> Open:
    url = qdrant_url()
    assert url is not None, "neither SOMA_TEST_QDRANT nor Docker gives a server"
    return OnServer(url)


ADAPTERS = [pytest.param(edge, id="qdrant_edge"), pytest.param(qdrant, id="qdrant")]
SERVER = bool(os.environ.get("SOMA_TEST_QDRANT")) or engine_answers()
if SERVER:
    ADAPTERS.append(pytest.param(qdrant_server, id="qdrant_server"))


@pytest.mark.skipif(
    not SERVER, reason="no Qdrant server: no package carries it; SOMA_TEST_QDRANT gives the address of one"
)
def test_every_promise_is_tried_on_a_server_too() -> None:
    assert ADAPTERS[-1].id == "qdrant_server"


@pytest.fixture(params=ADAPTERS)
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    factory, opened = request.param(tmp_path), []

    def open_again(**options: Any) -> VectorIndex:
        opened.append(factory(**options))
        return opened[-1]

    yield open_again
    for index in opened:
        index.close()
    if isinstance(factory, OnServer):
        factory.drop()


@pytest.fixture
def index(open_index: Open) -> VectorIndex:
    return open_index()


def uid(number: int) -> str:
    return str(UUID(int=number << 64 | 7))


def point(number: int, version: int, text: str = "", embedding: list[float] | None = None, **more: Any) -> IndexPoint:
    given = {"deleted": False, "namespace": "default", "importance": 1.0, "created_at": 10, "updated_at": 20} | more
    return IndexPoint(id=uid(number), version=version, text=text, embedding=embedding, **given)


def tombstone(number: int, version: int) -> IndexPoint:
    return point(number, version, deleted=True)


def found(index: VectorIndex, text: str = "", embedding: list[float] | None = None, **more: Any) -> list[str]:
    mode: SearchMode = "hybrid" if text and embedding else "dense" if embedding else "lexical"
    query = IndexQuery(**{"mode": mode, "limit": 10, "text": text, "embedding": embedding} | more)
    return [hit.id for hit in index.search(query)]


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


# --- shadow ------------------------------------------------------------------------------------------------------


def first_partition(ids: Sequence[str]) -> list[int]:
    return [0] * len(ids)


def fill(target: VectorIndex | IndexShadow, *points: IndexPoint, position: int = 100) -> None:
    target.write(points, TOPIC, {0: position})


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


# --- the embedded adapter ----------------------------------------------------------------------------------------


@contextmanager
def process(folder: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """Run `body` in another process with `index` and `shadow_of`; it says "ready" on stdout when it likes."""
    script = (
        "import sys, time, uuid\nfrom pathlib import Path\n"
        "from soma_cli.core.ports import IndexIdentity, IndexPoint, IndexQuery\n"
        "from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex\n"
        "def point(n, version, text):\n"
        "    id = str(uuid.UUID(int=n << 64 | 7))\n"
        "    return IndexPoint(id, version, False, 'default', 1.0, 10, 20, text, None)\n"
        "index = QdrantEdgeIndex(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script + body, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def ready(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line.startswith("ready"), "the process died"
    return line.removeprefix("ready").strip()


BUSY = (
    "version = 0\n"
    "while True:\n"
    "    batch = [point(n, version, f'busy word{n} of {version}') for n in range(500)]\n"
    "    index.write(batch, 'topic-1', {0: version + 1})\n"
    "    if not version: print('ready', flush=True)\n"
    "    version += 1\n"
)


def test_a_search_gets_its_turn_while_another_process_indexes(tmp_path: Path, capsys: Any) -> None:
    with process(tmp_path / "index", BUSY) as writer:
        ready(writer)
        index, took = QdrantEdgeIndex(tmp_path / "index"), []
        for _ in range(15):
            begun = time.monotonic()
            assert found(index, "busy")
            took.append(time.monotonic() - begun)
            time.sleep(0.15)
        before = index.positions(TOPIC)[0]
        index.close()
        time.sleep(0.5)
        assert index.positions(TOPIC)[0] > before, "the indexer did not go on"
    with capsys.disabled():
        print(f"\nsearch against a busy indexer: median {statistics.median(took):.3f} s, worst {max(took):.3f} s")
    assert max(took) < 1.0


def test_kill_9_while_writing_leaves_no_position_ahead_of_its_points(tmp_path: Path) -> None:
    body = (
        "at = 0\n"
        "while True:\n"
        "    index.write([point(n, n, f'word{n}') for n in range(at, at + 20)], 'topic-1', {0: at + 20})\n"
        "    at += 20\n"
        "    if at == 100: print('ready', flush=True)\n"
    )
    for pause in (0.0, 0.013, 0.037):
        folder = tmp_path / str(pause)
        with process(folder, body) as writer:
            ready(writer)
            time.sleep(pause)
        index = QdrantEdgeIndex(folder)
        position = index.positions(TOPIC)[0]
        assert position >= 100
        assert len(index.versions([uid(n) for n in range(position)])) == position
        index.write([point(n, n, f"word{n}") for n in range(position, position + 20)], TOPIC, {0: position + 20})
        assert found(index, f"word{position}") == [uid(position)]
        index.close()


def test_after_a_power_cut_the_points_below_the_position_are_there(tmp_path: Path) -> None:
    """What was never synced is lost: of the second write there is only the engine's log and meta.json."""
    index, now, then = QdrantEdgeIndex(tmp_path / "index"), tmp_path / "index", tmp_path / "then"
    fill(index, *[point(n, n, "first") for n in range(50)], position=50)
    index.release()
    fill(index, *[point(n, n, "again") for n in range(40, 50)], position=50)
    shutil.copytree(now, then)
    fill(index, *[point(n, n, "second", [1.0, float(n)]) for n in range(50, 150)], position=150)
    for kept in now.glob("g-*/shard/wal/*"):
        shutil.copy(kept, then / kept.relative_to(now))
    for kept in now.glob("g-*/meta.json"):
        shutil.copy(kept, then / kept.relative_to(now))
    after = QdrantEdgeIndex(then)
    assert after.positions(TOPIC) == {0: 150}
    assert after.versions([uid(n) for n in range(150)]) == {uid(n): n for n in range(150)}
    assert len(found(after, "second", [1.0, 60.0], limit=200)) == 100
    after.close()
    index.close()


def test_a_position_that_could_not_be_stored_is_stored_by_the_retry(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"), position=1)
    generation = next((tmp_path / "index").glob("g-*"))
    obstacle = generation / f".meta.json.{os.getpid()}.tmp"
    obstacle.mkdir()
    with pytest.raises(ConfigurationError):
        fill(index, point(2, 2, "word"), position=2)
    assert index.positions(TOPIC) == {0: 1}
    obstacle.rmdir()
    fill(index, point(2, 2, "word"), position=2)
    assert index.positions(TOPIC) == {0: 2}
    index.close()


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"))
    index.close()
    meta = next((tmp_path / "index").glob("g-*/meta.json"))
    meta.unlink()
    meta.mkdir()
    with pytest.raises(ConfigurationError) as refused:
        index.positions(TOPIC)
    assert "directory" in refused.value.message


def test_a_folder_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    index = QdrantEdgeIndex(tmp_path / "index")
    for use in (lambda: fill(index, point(1, 1)), lambda: index.positions(TOPIC), lambda: index.shadow(UNSETTLED)):
        with pytest.raises(ConfigurationError):
            use()


def test_another_process_swaps(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "old word"))
    body = (
        "shadow = index.shadow(IndexIdentity(None, None))\n"
        "shadow.write([point(2, 2, 'new word')], 'topic-1', {0: 200})\n"
        "shadow.swap(lambda: None)\n"
        "print('ready', flush=True)\n"
    )
    with process(tmp_path / "index", body) as rebuild:
        ready(rebuild)
    assert found(index, "word") == [uid(2)]
    assert index.positions(TOPIC) == {0: 200}
    assert len(generations(tmp_path)) == 1
    index.close()


def generations(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "index").glob("g-*")}


def test_a_shadow_deletes_what_dead_rebuilds_left_and_nothing_of_running_ones(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "live"))
    live = generations(tmp_path)
    body = (
        "shadow = index.shadow(IndexIdentity(None, None))\n"
        "shadow.write([point(2, 2, 'new word')], 'topic-1', {0: 200})\n"
        "print('ready', shadow._made.folder.name, flush=True)\n"
        "time.sleep(60)\n"
    )
    with process(tmp_path / "index", body) as rebuild:
        other = ready(rebuild)
        mine = index.shadow(UNSETTLED)
        assert live | {other} < generations(tmp_path)
        mine.discard()
        assert generations(tmp_path) == live | {other}
    mine = index.shadow(UNSETTLED)
    assert other not in generations(tmp_path)
    mine.discard()
    assert found(index, "live") == [uid(1)]
    index.close()


def _garble(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        paths = list(folder.glob(pattern))
        assert paths
        for path in paths:
            path.write_bytes(b"garbage")

    return damage


def _empty(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            path.write_bytes(b"")

    return damage


def _remove(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_garble("current"), id="current"),
        pytest.param(_garble("g-*/meta.json"), id="meta"),
        pytest.param(_remove("g-*/meta.json"), id="no meta"),
        pytest.param(_garble("g-*/shard/edge_config.json"), id="engine's configuration"),
        pytest.param(_garble("g-*/shard/segments/*/segment.json"), id="segment"),
        pytest.param(_garble("g-*/shard/segments/*/payload_storage/*.dat"), id="payloads"),
        pytest.param(_empty("g-*/shard/segments/*/vector_storage-bm25/deleted/status.dat"), id="the engine panics"),
        pytest.param(_remove("g-*/shard"), id="no shard"),
        pytest.param(_remove("g-*"), id="no generation"),
    ],
)
def test_a_corrupt_index_says_so_and_is_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"), position=9)
    index.close()
    damage(tmp_path / "index")
    with pytest.raises(DataFolderError) as told:
        found(index, "word")
    assert "soma replay --into vector --execute" in told.value.hint
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "word"), tombstone(2, 2), position=9)
    assert shadow.compare(first_partition).examples == {"missing": [uid(1)]}
    shadow.swap(lambda: None)
    assert (found(index, "word"), index.positions(TOPIC)) == ([uid(1)], {0: 9})
    assert len(generations(tmp_path)) == 1
    index.close()


def test_a_shard_that_another_program_holds_is_no_corrupt_one(tmp_path: Path) -> None:
    from qdrant_edge import EdgeShard

    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"))
    index.close()
    stranger = EdgeShard.load(str(next((tmp_path / "index").glob("g-*/shard"))))
    with pytest.raises(ServiceUnavailable) as busy:
        found(index, "word")
    assert busy.value.code == "index_busy"
    stranger.close()
    assert found(index, "word") == [uid(1)]
    index.close()


def test_threads_share_one_index(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(0, 0, "common"))
    wrong: list[Any] = []

    def write(thread: int) -> None:
        for n in range(10):
            index.write([point(100 * thread + n + 1, n, "common")], TOPIC, {thread: n + 1})

    def search() -> None:
        wrong.extend(ids for _ in range(30) if uid(0) not in (ids := found(index, "common", limit=100)))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(1, 4)] + [threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.positions(TOPIC) == {0: 100, 1: 10, 2: 10, 3: 10}
    assert index.count() == 31
    index.close()


def test_a_language_nobody_knows_is_a_configuration_error(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index", language="klingon")
    with pytest.raises(ConfigurationError, match="klingon"):
        fill(index, point(1, 1, "word"))
    index.close()


def test_a_collection_keeps_its_language_until_it_is_rebuilt(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index", language="english")
    fill(index, point(1, 1, "seats"))
    index.close()
    german = QdrantEdgeIndex(tmp_path / "index", language="german")
    assert found(german, "seating") == [uid(1)]
    assert german.stats()["language"] == "english"
    shadow = german.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "Häuser"))
    shadow.swap(lambda: None)
    assert german.stats()["language"] == "german"
    assert found(german, "Haus") == [uid(1)]
    german.close()


def test_the_engine_is_loaded_at_first_use_only(tmp_path: Path) -> None:
    code = (
        "import sys; import soma_cli.core.adapters.vector_index.qdrant_edge as adapter\n"
        "from pathlib import Path; index = adapter.QdrantEdgeIndex(Path(sys.argv[1]))\n"
        "index.positions('t'); index.identity(); assert 'qdrant_edge' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")], cwd=ROOT, check=True)
