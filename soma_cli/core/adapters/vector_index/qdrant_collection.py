"""One collection on the server: its points, what it holds and how far it has come."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from qdrant_client import models

from soma_cli.core.adapters.vector_index import bm25, qdrant_guard
from soma_cli.core.adapters.vector_index.embeddings import DENSE, is_uuid, newest_of, settled_dimension, settles
from soma_cli.core.adapters.vector_index.qdrant_query import LIVE, query_arguments, sparse_vector
from soma_cli.core.adapters.vector_index.qdrant_reserved import (
    ABOUT,
    KINDS,
    About,
    about_of,
    about_point,
    is_reserved,
    now_s,
    position_points,
    unsettled,
)
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer, check_applied
from soma_cli.core.errors import ConfigurationError, SomaError, ValueRefused
from soma_cli.core.ports import Hit, IndexIdentity, IndexPoint, IndexQuery, PointSummary

PAGE = 1000
"""Points read at a time."""
FIELDS = {
    "namespace": models.PayloadSchemaType.KEYWORD,
    "importance": models.PayloadSchemaType.FLOAT,
    "created_at": models.PayloadSchemaType.INTEGER,
    "deleted": models.PayloadSchemaType.BOOL,
    "version": models.PayloadSchemaType.INTEGER,
    "kind": models.PayloadSchemaType.KEYWORD,
    "next_offset": models.PayloadSchemaType.INTEGER,
}
"""Payload fields that are filtered by, and so have an index: a server in strict mode refuses to filter by others."""
_SUMMARY = ["namespace", "importance", "version", "deleted", "kind"]
_TOMBSTONE = models.FieldCondition(key="deleted", match=models.MatchValue(value=True))

PositionsByTopic = dict[str, dict[int, int]]


class Page(NamedTuple):
    """`following` is the id that the next page begins with; None at the end."""

    points: list[PointSummary]
    following: str | None


class QdrantCollection:
    """The collection of this name. Each method raises ConfigurationError (`index_missing`) where it is not there."""

    def __init__(self, server: QdrantServer, name: str) -> None:
        self.name = name
        self._server = server

    @classmethod
    def create(
        cls, server: QdrantServer, name: str, alias: str, identity: IndexIdentity, language: str
    ) -> QdrantCollection:
        """Make an empty one that is to stand behind the alias some day."""
        bm25.embed_query("an unknown language is refused here", language)
        dense = {} if identity.dimension is None else {DENSE: _cosine(identity.dimension)}
        with server.client() as client:
            client.create_collection(
                name,
                vectors_config=dense,
                sparse_vectors_config={bm25.VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                metadata={"soma_alias": alias, "soma_made_at": now_s()},
            )
        made = cls(server, name)
        made.create_fields(FIELDS)
        made._put_about(About(name, identity, language, now_s()), None)
        return made

    def create_fields(self, names: Collection[str]) -> None:
        with self._server.client() as client:
            for field in names:
                check_applied([client.create_payload_index(self.name, field, FIELDS[field], wait=True)])

    def about(self) -> About:
        with self._server.client() as client:
            found = client.retrieve(self.name, [ABOUT], with_payload=True)
        return about_of(found[0].payload if found else None)

    def beat(self) -> None:
        """Tell other processes that the rebuild which makes this collection is alive."""
        with self._server.client() as client:
            client.set_payload(self.name, {"alive_at": now_s()}, points=[ABOUT], wait=True)

    def take_name(self) -> None:
        """Say what the collection is called now: it says otherwise after a snapshot was restored by another name."""
        with self._server.client() as client:
            client.set_payload(self.name, {"collection": self.name}, points=[ABOUT], wait=True)

    def adopt(self, identity: IndexIdentity) -> About:
        """Settle model and dimension, or raise ValueRefused where they are settled otherwise.

        Of several processes the first settles them; the others find it settled.
        """
        about = self.about()
        if settles(about.identity, identity):
            self._put_about(about._replace(identity=identity), unsettled(identity))
            about = self.about()
            settles(about.identity, identity)
        if about.identity.dimension is not None:
            self._ensure_dense(about.identity.dimension)
        return about

    def positions(self) -> tuple[About, PositionsByTopic]:
        """What the collection is, and the stored positions by topic id, in one request (per thousand partitions)."""
        about, found = None, PositionsByTopic()
        for payload in self._reserved():
            if payload["kind"] == "about":
                about = about_of(payload)
            else:
                found.setdefault(payload["topic_id"], {})[payload["partition"]] = payload["next_offset"]
        return about or about_of(None), found

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        """Upsert what is not older than what is there; then, once that is durable, raise the positions."""
        about = self.about()
        dimension = _checked(points, about.identity.dimension)
        if dimension is not None and any(point.embedding is not None for point in points):
            if about.identity.dimension is None:
                about = self.adopt(IndexIdentity(about.identity.model_revision, dimension))
            self._ensure_dense(dimension)
        made = [_point(point, about) for point in newest_of(points)]
        qdrant_guard.upsert(self._server, self.name, made, "version")
        qdrant_guard.upsert(self._server, self.name, position_points(topic_id, dict(positions)), "next_offset")

    def search(self, query: IndexQuery, about: About) -> list[Hit]:
        arguments = query_arguments(query, about.language, about.identity)
        if arguments is None:
            return []
        if about.identity.dimension is not None and query.mode != "lexical":
            self._ensure_dense(about.identity.dimension)
        with self._server.client() as client:
            found = client.query_points(self.name, **arguments).points
        return [Hit(str(point.id), point.score, (point.payload or {})["version"]) for point in found]

    def versions(self, ids: Collection[str]) -> dict[str, int]:
        """The versions of the points that are there, tombstones included."""
        wanted = (id for id in ids if is_uuid(id) and not is_reserved(id))
        known = dict[str, int]()
        while some := list(islice(wanted, PAGE)):
            with self._server.client() as client:
                found = client.retrieve(self.name, some, with_payload=["version"])
            known |= {str(record.id): (record.payload or {})["version"] for record in found}
        return known

    def pages(self, about: About) -> Iterator[list[PointSummary]]:
        """All points in order of id, tombstones too."""
        page = self.page(None, about)
        yield page.points
        while page.following is not None:
            page = self.page(page.following, about)
            yield page.points

    def page(self, start: str | None, about: About) -> Page:
        with self._server.client() as client:
            found, following = client.scroll(self.name, offset=start, limit=PAGE, with_payload=_SUMMARY)
        dense = self._dense_ids(about, [], start)
        points = [_summary(record, dense) for record in found if not is_reserved(str(record.id))]
        return Page(points, None if following is None else str(following))

    def summaries(self, ids: Sequence[str], about: About) -> dict[str, PointSummary]:
        """The points of up to PAGE ids, where there are any."""
        with self._server.client() as client:
            found = client.retrieve(self.name, ids, with_payload=_SUMMARY)
        dense = self._dense_ids(about, [models.HasIdCondition(has_id=list(ids))], None)
        return {str(record.id): _summary(record, dense) for record in found}

    def counts(self) -> tuple[int, int]:
        """(live, tombstones)."""
        with self._server.client() as client:
            live = client.count(self.name, models.Filter(must=[LIVE]), exact=True).count
            return live, client.count(self.name, models.Filter(must=[_TOMBSTONE]), exact=True).count

    def info(self) -> models.CollectionInfo:
        with self._server.client() as client:
            return client.get_collection(self.name)

    def delete(self) -> None:
        with self._server.client() as client:
            client.delete_collection(self.name)

    def _reserved(self) -> Iterator[dict[str, Any]]:
        start: Any = None
        while True:
            with self._server.client() as client:
                found, start = client.scroll(self.name, KINDS, offset=start, limit=PAGE, with_payload=True)
            yield from (record.payload or {} for record in found)
            if start is None:
                return

    def _put_about(self, about: About, condition: models.Filter | None) -> None:
        with self._server.client() as client:
            check_applied([client.upsert(self.name, [about_point(about)], update_filter=condition, wait=True)])

    def _ensure_dense(self, dimension: int) -> None:
        """The dense vector is made after the dimension was settled: a process may have died between the two."""
        if self.name in self._server.has_dense:
            return
        if not self._has_dense():
            try:
                self._create_dense(dimension)
            except ConfigurationError:
                raise
            except SomaError:
                if not self._has_dense():  # Otherwise another process was quicker.
                    raise
        self._server.has_dense.add(self.name)

    def _create_dense(self, dimension: int) -> None:
        vector = models.DenseVectorConfig(size=dimension, distance=models.Distance.COSINE)
        with self._server.client() as client:
            made = client.create_vector_name(self.name, DENSE, models.DenseVectorNameConfig(dense=vector), wait=True)
        check_applied([made])

    def _has_dense(self) -> bool:
        vectors = self.info().config.params.vectors
        return isinstance(vectors, Mapping) and DENSE in vectors

    def _dense_ids(self, about: About, among: list[models.Condition], start: str | None) -> set[str]:
        if about.identity.dimension is None:
            return set()
        self._ensure_dense(about.identity.dimension)
        having = models.Filter(must=[*among, models.HasVectorCondition(has_vector=DENSE)])
        with self._server.client() as client:
            found, _ = client.scroll(self.name, having, offset=start, limit=PAGE, with_payload=False)
        return {str(record.id) for record in found}


def _cosine(dimension: int) -> models.VectorParams:
    return models.VectorParams(size=dimension, distance=models.Distance.COSINE)


def _checked(points: Sequence[IndexPoint], dimension: int | None) -> int | None:
    """The dimension, settled now if it was not. Raises ValueRefused, before anything is sent."""
    for point in points:
        if is_reserved(point.id):
            raise ValueRefused(f"the index keeps the id {point.id} for itself", pointer="/id")
    return settled_dimension(points, dimension)


def _point(point: IndexPoint, about: About) -> models.PointStruct:
    vectors = {} if point.deleted else _vectors(point, about.language)
    payload = {
        "namespace": point.namespace,
        "importance": float(point.importance),
        "created_at": point.created_at,
        "updated_at": point.updated_at,
        "version": point.version,
        "deleted": point.deleted,
        "model_revision": about.identity.model_revision if DENSE in vectors else None,
    }
    return models.PointStruct(id=point.id, vector=vectors, payload=payload)


def _vectors(point: IndexPoint, language: str) -> dict[str, Any]:
    vectors: dict[str, Any] = {}
    if (sparse := bm25.embed_document(point.text, language)) is not None:
        vectors[bm25.VECTOR] = sparse_vector(sparse)
    if point.embedding is not None:
        vectors[DENSE] = list(point.embedding)
    return vectors


def _summary(record: models.Record, dense: set[str]) -> PointSummary:
    id, payload = str(record.id), record.payload or {}
    return PointSummary(
        id, payload["version"], payload["deleted"], payload["namespace"], payload["importance"], id in dense
    )
