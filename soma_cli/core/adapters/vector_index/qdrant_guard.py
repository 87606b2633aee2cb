"""Upserts that never go back: each point is written only over one whose counter is not higher than its own.

The server takes one condition a request, so the condition of a group of points is: this id and at most this counter,
or that id and at most that one, and so on. It looks only at points of the request that are there already; others are
inserted. The server evaluates it together with the write, so of two writers at once the newer wins in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import models

from soma_cli.core.adapters.vector_index import bm25
from soma_cli.core.adapters.vector_index.embeddings import DENSE
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer, check_applied

GROUP = 50
"""Points a condition: the in-memory engine takes time in proportion to it, the server hardly any."""
REQUEST_BYTES = 8_000_000
"""About as much a request; the server takes 32 MB."""


def upsert(server: QdrantServer, collection: str, points: Sequence[models.PointStruct], counter: str) -> None:
    """Write the points (no id twice), durable when it returns. `counter` is the payload field that never falls."""
    for some in requests(points):
        groups = (some[at : at + GROUP] for at in range(0, len(some), GROUP))
        operations: list[models.UpdateOperation] = [
            models.UpsertOperation(upsert=models.PointsList(points=group, update_filter=not_newer(group, counter)))
            for group in groups
        ]
        with server.client() as client:
            check_applied(client.batch_update_points(collection, operations, wait=True))


def not_newer(points: Sequence[models.PointStruct], counter: str) -> models.Filter:
    """Holds for a point that is there if its counter is at most that of the point which is to take its place."""
    return models.Filter(
        should=[
            models.Filter(
                must=[
                    models.HasIdCondition(has_id=[point.id]),
                    models.FieldCondition(key=counter, range=models.Range(lte=(point.payload or {})[counter])),
                ]
            )
            for point in points
        ]
    )


def requests(points: Sequence[models.PointStruct]) -> Iterator[list[models.PointStruct]]:
    """The points, a request's at a time."""
    some: list[models.PointStruct] = []
    size = 0
    for point in points:
        size += (weight := _bytes(point))
        if some and size > REQUEST_BYTES:
            yield some
            some, size = [], weight
        some.append(point)
    if some:
        yield some


def _bytes(point: models.PointStruct) -> int:
    """At most so many in JSON, names of namespaces and models apart."""
    vectors: Any = point.vector
    sparse = vectors.get(bm25.VECTOR)
    return 1500 + 25 * len(vectors.get(DENSE, ())) + (36 * len(sparse.indices) if sparse else 0)
