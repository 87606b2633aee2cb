"""The embedded search index: 384 numbers and a BM25 vector a memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from soma_cli.bench.comparison import Comparison, Target, Workload, seconds
from soma_cli.bench.workload import DIMENSION, events, points, text
from soma_cli.core.ports import IndexIdentity, IndexPoint, IndexQuery, VectorIndex
from soma_cli.core.settings import IndexSettings, Settings, WorkerSettings
from soma_cli.core.system import MemorySystem

BATCH = WorkerSettings().batch_size
_QUERIES = 100
_LIMIT = 10
_TOPIC_ID = "bench"


class BareIndex:
    """qdrant-edge with the same collection: the same vectors, payload and payload indexes; made durable by `flush`."""

    def __init__(self, folder: Path) -> None:
        import qdrant_edge as q

        self._q = q
        folder.mkdir(parents=True)
        sparse = {"bm25": q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)}
        self._shard = q.EdgeShard.create(str(folder), q.EdgeConfig(sparse_vectors=sparse))
        self._shard.update(q.UpdateOperation.create_dense_vector("dense", DIMENSION, q.Distance.Cosine))
        kinds = q.PayloadSchemaType
        indexes = {
            "namespace": kinds.Keyword,
            "importance": kinds.Float,
            "created_at": kinds.Integer,
            "deleted": kinds.Bool,
        }
        for name, kind in indexes.items():
            self._shard.update(q.UpdateOperation.create_field_index(name, kind))
        self._bm25 = q.Bm25(
            q.Bm25Config(k=1.2, b=0.75, avg_len=256.0, language="english", lowercase=True, ascii_folding=True)
        )

    def write(self, some: Sequence[IndexPoint]) -> None:
        made = [self._point(point) for point in some]
        self._shard.update(self._q.UpdateOperation.upsert_points(made))

    def _point(self, point: IndexPoint) -> Any:
        assert point.embedding is not None
        vectors: dict[str, Any] = {"bm25": self._bm25.embed_document(point.text), "dense": point.embedding}
        payload = {
            "namespace": point.namespace,
            "importance": point.importance,
            "created_at": point.created_at,
            "updated_at": point.updated_at,
            "version": point.version,
            "deleted": point.deleted,
        }
        return self._q.Point(point.id, vectors, payload)

    def flush(self) -> None:
        self._shard.flush()

    def search(self, query: IndexQuery) -> list[Any]:
        q = self._q
        assert query.embedding is not None
        lexical = q.Query.Nearest(self._bm25.embed_query(query.text), using="bm25")
        dense = q.Query.Nearest(query.embedding, using="dense")
        prefetches = [q.Prefetch(limit=100, query=each) for each in (lexical, dense)]
        fusion: Any = q.Fusion.Rrf(k=60)
        return self._shard.query(
            q.QueryRequest(limit=query.limit, query=fusion, prefetches=prefetches, with_payload=["version"])
        )

    def close(self) -> None:
        self._shard.close()


def _system(folder: Path) -> MemorySystem:
    identity = IndexSettings(dimension=DIMENSION, model_revision="bench")
    return MemorySystem(Settings(data_dir=folder, index=identity))


def _batches(made: list[IndexPoint]) -> list[list[IndexPoint]]:
    return [made[at : at + BATCH] for at in range(0, len(made), BATCH)]


def _fill(index: VectorIndex, batches: list[list[IndexPoint]]) -> None:
    index.adopt(IndexIdentity("bench", DIMENSION))
    end = 0
    for some in batches:
        end += len(some)
        index.write(some, _TOPIC_ID, {0: end})


@contextmanager
def upsert(workload: Workload) -> Iterator[Comparison]:
    batches = _batches(list(points(workload.events, events(workload.events))))
    rounds = itertools.count()

    def ours() -> float:
        with _system(workload.folder / f"soma{next(rounds)}") as system:
            index = system.adapters.index
            index.count()
            return workload.events / seconds(lambda: _fill(index, batches))

    def theirs() -> float:
        bare = BareIndex(workload.folder / f"bare{next(rounds)}")

        def run() -> None:
            for some in batches:
                bare.write(some)
            bare.flush()

        rate = workload.events / seconds(run)
        bare.close()
        return rate

    yield Comparison(
        f"upsert points, {BATCH} a batch, each batch durable",
        "/s",
        Target(0.7),
        ours,
        theirs,
        "qdrant-edge: the same points, no version guard, one flush at the end",
    )


@contextmanager
def search(workload: Workload) -> Iterator[Comparison]:
    batches = _batches(list(points(workload.events, events(workload.events))))
    bare = BareIndex(workload.folder / "bare")
    for some in batches:
        bare.write(some)
    bare.flush()
    with _system(workload.folder / "soma") as system:
        _fill(system.adapters.index, batches)
        queries = _queries(_QUERIES)
        yield Comparison(
            f"search {workload.events:,} memories, hybrid",
            "ms",
            Target(1.5),
            lambda: _median_ms(system.adapters.index.search, queries),
            lambda: _median_ms(bare.search, queries),
            "qdrant-edge: the same query, BM25 and dense, fused",
            rounds=2,
        )
    bare.close()


def _queries(count: int) -> list[IndexQuery]:
    rng = random.Random(5)  # noqa: S311 - figures, not secrets
    return [
        IndexQuery("hybrid", _LIMIT, text(rng, 40), [rng.uniform(-1, 1) for _ in range(DIMENSION)])
        for _ in range(count)
    ]


def _median_ms(search_for: Callable[[IndexQuery], object], queries: list[IndexQuery]) -> float:
    return median([seconds(lambda query=query: search_for(query)) for query in queries]) * 1e3  # type: ignore[misc]
