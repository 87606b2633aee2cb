"""Points on Qdrant: reserved ones, requests of bounded size, and writers that lose answers or overtake each other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException

from soma_cli.core.adapters.vector_index import qdrant_guard
from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.adapters.vector_index.qdrant_reserved import ABOUT, reserved_id
from soma_cli.core.errors import ServiceUnavailable, ValueRefused
from soma_cli.core.ports import IndexIdentity
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, fill, found, point
from tests.contracts.qdrant_indexes import InMemory, in_memory
from tests.contracts.qdrant_indexes import client as client
from tests.contracts.qdrant_indexes import index as index

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


def test_reserved_points_are_nobody_s_memories(index: QdrantIndex) -> None:
    fill(index, point(1, 1, "x"), position=7)
    own = [ABOUT, reserved_id(f"position {TOPIC} 0")]
    assert index.versions([*own, uid(1)]) == {uid(1): 1}
    for id in own:
        with pytest.raises(ValueRefused):
            index.write([point(2, 2, "x")._replace(id=id)], TOPIC, {0: 9})
    assert index.positions(TOPIC) == {0: 7}
    assert index.count() == 1
    assert [each.id for each in index.scan()] == [uid(1)]


def test_many_partitions_have_their_positions(index: QdrantIndex) -> None:
    positions = {partition: partition * 10 for partition in range(1100)}
    index.write([], TOPIC, positions)
    index.write([], TOPIC, dict.fromkeys(range(1100), 5000))
    index.write([], "topic-2", {0: 1})
    assert index.positions(TOPIC) == {partition: max(5000, at) for partition, at in positions.items()}


def test_requests_are_bounded_in_bytes() -> None:
    def large(n: int) -> models.PointStruct:
        vectors: dict[str, Any] = {
            "dense": [-1.2345678901234567e-05] * 4096,
            "bm25": models.SparseVector(indices=[4294967295 - at for at in range(20000)], values=[1.2345678] * 20000),
        }
        return models.PointStruct(id=uid(n), vector=vectors, payload={"version": n, "namespace": "n" * 200})

    points = [large(n) for n in range(60)]
    requests = list(qdrant_guard.requests(points))
    assert [each.id for each in itertools.chain(*requests)] == [each.id for each in points]
    assert len(requests) > 3
    for request in requests:
        operation = models.PointsList(points=request, update_filter=qdrant_guard.not_newer(request, "version"))
        assert len(operation.model_dump_json()) < qdrant_guard.REQUEST_BYTES


class LosesWrites(InMemory):
    """The first write of memories is lost on the way."""

    lost = 1

    def batch_update_points(self, name: str, operations: Any, **options: Any) -> list[models.UpdateResult]:
        if self.lost and "version" in operations[0].upsert.points[0].payload:
            self.lost -= 1
            raise ResponseHandlingException(httpx.ConnectError("connection reset"))
        return super().batch_update_points(name, operations, **options)


def test_a_position_never_runs_ahead_of_points_that_were_lost() -> None:
    index = in_memory(LosesWrites())()
    with pytest.raises(ServiceUnavailable, match="connection reset"):
        fill(index, point(1, 1, "x"), position=9)
    assert (index.positions(TOPIC), index.versions([uid(1)])) == ({}, {})
    fill(index, point(1, 1, "x"), position=9)
    assert (index.positions(TOPIC), index.versions([uid(1)])) == ({0: 9}, {uid(1): 1})


def test_writers_at_once_leave_the_newest(index: QdrantIndex) -> None:
    """Each writes every version of every memory in an order of its own."""
    orders = [range(20), range(19, -1, -1), [*range(10, 20), *range(10)]]

    def work(order: Sequence[int]) -> None:
        for version in order:
            index.write([point(n, version, f"text{version}") for n in range(10)], TOPIC, {0: version})

    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.versions([uid(n) for n in range(10)]) == {uid(n): 19 for n in range(10)}
    assert len(found(index, "text19")) == 10
    assert index.positions(TOPIC) == {0: 19}


def test_the_server_s_own_code_takes_the_guard_the_same_way(tmp_path: Path) -> None:
    """qdrant-edge is built from it; the condition is the one of qdrant_guard in its words."""
    from qdrant_edge import (
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        FieldCondition,
        Filter,
        HasIdCondition,
        Point,
        RangeFloat,
        UpdateOperation,
    )

    def edge_filter(given: models.Filter) -> Filter:
        branches: list[Any] = []
        assert isinstance(given.should, list)
        for branch in given.should:
            assert isinstance(branch, models.Filter)
            assert isinstance(branch.must, list)
            has_id, bound = branch.must
            assert isinstance(has_id, models.HasIdCondition)
            assert isinstance(bound, models.FieldCondition)
            assert isinstance(bound.range, models.Range)
            must: list[Any] = [
                HasIdCondition({str(id) for id in has_id.has_id}),
                FieldCondition(bound.key, range=RangeFloat(lte=bound.range.lte)),
            ]
            branches.append(Filter(must=must))
        return Filter(should=branches)

    shard = EdgeShard.create(str(tmp_path), EdgeConfig(sparse_vectors={"bm25": EdgeSparseVectorParams()}))

    def write(versions: dict[int, int], text: str) -> None:
        points = [models.PointStruct(id=uid(n), vector={}, payload={"version": v}) for n, v in versions.items()]
        guard = edge_filter(qdrant_guard.not_newer(points, "version"))
        made = [Point(uid(n), {}, {"version": v, "text": text}) for n, v in versions.items()]
        shard.update(UpdateOperation.upsert_points(made, condition=guard))

    high = 4095 * 2**40 + 17
    write({1: 5, 2: 5, 3: high}, "first")
    write({1: 4, 2: 5, 3: high - 1, 4: 1}, "second")
    write({4: 2}, "third")
    records = shard.retrieve([uid(n) for n in range(1, 5)], True, False)
    held = {str(each.id): (each.payload["version"], each.payload["text"]) for each in records if each.payload}
    expected = {1: (5, "first"), 2: (5, "second"), 3: (high, "first"), 4: (2, "third")}
    assert held == {uid(n): each for n, each in expected.items()}
    shard.close()


class Overtaken(InMemory):
    """Before the next upsert, somebody else has his turn."""

    overtake: Callable[[], None] | None = None

    def upsert(self, *args: Any, **options: Any) -> models.UpdateResult:
        overtake, self.overtake = self.overtake, None
        if overtake is not None:
            overtake()
        return super().upsert(*args, **options)


def test_of_two_that_settle_the_model_at_once_one_is_refused() -> None:
    client = Overtaken()
    slow, quick = in_memory(client)(), in_memory(client)()
    client.overtake = lambda: quick.adopt(IndexIdentity("quick", 3))
    with pytest.raises(ValueRefused):
        slow.adopt(IndexIdentity("slow", 2))
    assert slow.identity() == IndexIdentity("quick", 3)
    vectors = client.get_collection("memories").config.params.vectors
    assert isinstance(vectors, dict)
    assert vectors["dense"].size == 3
    client.overtake = lambda: quick.adopt(IndexIdentity("quick", 3))
    slow.adopt(IndexIdentity("quick", 3))


def test_a_process_that_died_before_it_made_the_dense_vector(client: InMemory) -> None:
    index = in_memory(client)()
    client.set_payload("memories", {"model_revision": "m", "dimension": 2}, points=[ABOUT])
    assert index.identity() == IndexIdentity("m", 2)
    assert found(index, embedding=[1.0, 0.0]) == []
    assert list(index.scan()) == []
    fill(in_memory(client)(), point(1, 1, "x", [1.0, 0.0]))
    assert found(index, embedding=[1.0, 0.0]) == [uid(1)]
