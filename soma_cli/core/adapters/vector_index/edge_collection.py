"""One generation of the embedded index: a shard of the engine and how far it has come.

Not safe for two threads or processes at once: the lease of the live generation and the lock of a shadow see to that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from soma_cli.core.adapters.data_folder import sync_folder
from soma_cli.core.adapters.vector_index import bm25, generations
from soma_cli.core.adapters.vector_index.edge_query import query_request
from soma_cli.core.adapters.vector_index.embeddings import DENSE, is_uuid, newest_of, settled_dimension, settles
from soma_cli.core.adapters.vector_index.engine_errors import engine_errors, is_panic
from soma_cli.core.adapters.vector_index.generations import Meta
from soma_cli.core.ports import Hit, IndexIdentity, IndexPoint, IndexQuery, PointSummary

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, Point

UPSERT = 1000
"""Points per operation of the engine."""
FLUSH = 10000
"""Points between two flushes: so many at most are replayed, in half a second, after a process died."""


class Page(NamedTuple):
    """`following` is the id that the next page begins with; None at the end."""

    points: list[PointSummary]
    following: str | None


class EdgeCollection:
    """A shard with a sparse vector a point and, once the dimension is settled, a dense one.

    Dense search is exact: no graph is ever built (it took 15 s at 20,000 points x 384 dimensions and more than 4
    minutes at 150,000, all the while keeping others out) since comparing with every point costs 0.1 ms per thousand.
    Points that are written again take the place of the old ones, so that there is nothing to compact either.

    Loading a shard takes 15 to 100 ms at 20,000 points, and in proportion to them.
    """

    def __init__(self, folder: Path, meta: Meta, *, durable: bool = True) -> None:
        """A generation that is there. Without `durable`, nothing is promised to survive before `flush`."""
        self.folder = folder
        self.meta = meta
        self._durable = durable
        self._shard: EdgeShard | None = None
        self._unflushed = 0

    @classmethod
    def create(cls, folder: Path, identity: IndexIdentity, language: str, *, durable: bool = True) -> EdgeCollection:
        """Make the files of a new generation in its empty folder."""
        made = cls(folder, Meta(IndexIdentity(identity.model_revision, None), language), durable=durable)
        with engine_errors(folder):
            made._shard = _new_shard(folder / "shard")
            made._shard.flush()
            generations.write_meta(folder, made.meta)
        if identity.dimension is not None:
            made.adopt(identity)
        return made

    def load(self) -> None:
        with self._engine():
            pass

    def adopt(self, identity: IndexIdentity) -> None:
        """Settle model and dimension, or raise ValueRefused where they are settled otherwise."""
        if not settles(self.meta.identity, identity):
            return
        with self._engine() as shard:
            if identity.dimension is not None:
                _add_dense(shard, identity.dimension)
                shard.flush()
            self._keep(replace(self.meta, identity=identity))

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        """Upsert what is not older than what is there; then, once that is durable, raise the positions."""
        settled = self.meta.identity.dimension
        dimension = settled_dimension(points, settled)
        if dimension != settled:
            self.adopt(IndexIdentity(self.meta.identity.model_revision, dimension))
        fresh = self._not_older(points)
        if fresh:
            self._upsert([self._point(point) for point in fresh])
        advanced = self.meta.advanced(topic_id, positions)
        if advanced is not self.meta:
            self._keep(advanced)

    def search(self, query: IndexQuery) -> list[Hit]:
        request = query_request(query, self.meta.language, self.meta.identity)
        if request is None:
            return []
        with self._engine(query=True) as shard:
            found = shard.query(request)
        return [Hit(str(point.id), point.score, (point.payload or {})["version"]) for point in found]

    def versions(self, ids: Iterable[str]) -> dict[str, int]:
        """The versions of the points that are there, tombstones included."""
        known = [id for id in ids if is_uuid(id)]
        if not known:
            return {}
        with self._engine() as shard:
            found = shard.retrieve(list(known), ["version"], False)
        return {str(record.id): (record.payload or {})["version"] for record in found}

    def page(self, start: str | None, limit: int) -> Page:
        """Up to `limit` points in order of id, tombstones too, from `start` on."""
        from qdrant_edge import ScrollRequest

        with self._engine() as shard:
            found, following = shard.scroll(
                ScrollRequest(offset=start, limit=limit, with_payload=True, with_vector=False)
            )
            dense = self._dense_ids(shard, start, limit)
        points = [_summary(str(record.id), record.payload or {}, dense) for record in found]
        return Page(points, None if following is None else str(following))

    def summaries(self, ids: Collection[str]) -> dict[str, PointSummary]:
        """The points of these ids, where there are any."""
        with self._engine() as shard:
            found = shard.retrieve(list(ids), True, [DENSE] if self.meta.identity.dimension else False)
        summaries = {}
        for record in found:
            dense = {str(record.id)} if record.vector else set()
            summaries[str(record.id)] = _summary(str(record.id), record.payload or {}, dense)
        return summaries

    def counts(self) -> tuple[int, int]:
        """(live, tombstones)."""
        from qdrant_edge import CountRequest, FacetRequest

        with self._engine() as shard:
            total = shard.count(CountRequest(exact=True))
            facets = shard.facet(FacetRequest("deleted", exact=True))
        deleted = sum(hit.count for hit in facets.hits if hit.value in (True, "true"))
        return total - deleted, deleted

    def segments(self) -> int:
        with self._engine() as shard:
            return shard.info().segments_count

    def flush(self) -> None:
        """Make points and position durable."""
        with self._engine() as shard:
            shard.flush()
            self._unflushed = 0
            generations.write_meta(self.folder, self.meta)

    def close(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            with engine_errors(self.folder):
                shard.close()
                self._unflushed = 0

    def _keep(self, meta: Meta) -> None:
        if self._durable:
            generations.write_meta(self.folder, meta)
        self.meta = meta

    def _not_older(self, points: Sequence[IndexPoint]) -> list[IndexPoint]:
        newest = newest_of(points)
        present = self.versions(point.id for point in newest)
        return [point for point in newest if point.version >= present.get(point.id, -1)]

    def _point(self, point: IndexPoint) -> Point:
        from qdrant_edge import Point

        vector = {} if point.deleted else self._vectors(point)
        payload = {
            "namespace": point.namespace,
            "importance": float(point.importance),
            "created_at": point.created_at,
            "updated_at": point.updated_at,
            "version": point.version,
            "deleted": point.deleted,
            "model_revision": self.meta.identity.model_revision if DENSE in vector else None,
        }
        return Point(point.id, vector, payload)

    def _vectors(self, point: IndexPoint) -> dict[str, Any]:
        vectors: dict[str, Any] = {}
        if (sparse := bm25.embed_document(point.text, self.meta.language)) is not None:
            vectors[bm25.VECTOR] = sparse
        if point.embedding is not None:
            vectors[DENSE] = point.embedding
        return vectors

    def _upsert(self, points: list[Point]) -> None:
        from qdrant_edge import UpdateOperation

        rest = iter(points)
        generations.check_room(self.folder)
        with self._engine() as shard:
            while some := list(islice(rest, UPSERT)):
                shard.update(UpdateOperation.upsert_points(some))
            self._unflushed += len(points)
            if self._durable:
                self._make_durable(shard)

    def _make_durable(self, shard: EdgeShard) -> None:
        """Sync the engine's write-ahead log, which it replays when it loads; six times as fast as its flush."""
        if self._unflushed < FLUSH and _sync_log(self.folder / "shard" / "wal"):
            return
        shard.flush()
        self._unflushed = 0

    def _dense_ids(self, shard: EdgeShard, start: str | None, limit: int) -> set[str]:
        from qdrant_edge import Filter, HasVectorCondition, ScrollRequest

        if self.meta.identity.dimension is None:
            return set()
        having = Filter(must=[HasVectorCondition(DENSE)])
        found, _ = shard.scroll(
            ScrollRequest(offset=start, limit=limit, filter=having, with_payload=False, with_vector=False)
        )
        return {str(record.id) for record in found}

    @contextmanager
    def _engine(self, *, query: bool = False) -> Iterator[EdgeShard]:
        with engine_errors(self.folder):
            if self._shard is None:
                generations.check_room(self.folder)
                self._shard = _load(self.folder / "shard")
        with engine_errors(self.folder, query=query):
            try:
                yield self._shard
            except BaseException as error:
                if is_panic(error):
                    self._shard = None
                raise


def _new_shard(path: Path) -> EdgeShard:
    from qdrant_edge import (
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        Modifier,
        PayloadSchemaType,
        UpdateOperation,
    )

    sparse = {bm25.VECTOR: EdgeSparseVectorParams(modifier=Modifier.Idf)}
    path.mkdir()
    shard = EdgeShard.create(str(path), EdgeConfig(sparse_vectors=sparse))
    fields = {
        "namespace": PayloadSchemaType.Keyword,
        "importance": PayloadSchemaType.Float,
        "created_at": PayloadSchemaType.Integer,
        "deleted": PayloadSchemaType.Bool,
    }
    for name, kind in fields.items():
        shard.update(UpdateOperation.create_field_index(name, kind))
    return shard


def _load(path: Path) -> EdgeShard:
    from qdrant_edge import EdgeShard

    return EdgeShard.load(str(path))


def _sync_log(log: Path) -> bool:
    """Whether the log was found and is durable now. The engine prepares its next segment as `tmp-...` meanwhile."""
    try:
        written = [path for path in log.iterdir() if not path.name.startswith("tmp-")]
        for path in written:
            sync_folder(path)
        sync_folder(log)
    except FileNotFoundError:
        return False
    return bool(written)


def _add_dense(shard: EdgeShard, dimension: int) -> None:
    from qdrant_edge import Distance, UpdateOperation

    # A crash after this and before meta.json leaves a vector name behind that nothing uses yet, maybe of another size.
    shard.update(UpdateOperation.delete_vector_name(DENSE))
    shard.update(UpdateOperation.create_dense_vector(DENSE, dimension, Distance.Cosine))


def _summary(id: str, payload: dict[str, Any], dense: set[str]) -> PointSummary:
    return PointSummary(
        id, payload["version"], payload["deleted"], payload["namespace"], payload["importance"], id in dense
    )
