"""Points of a vector index for the contracts: short to write, and searched for in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soma_cli.core.ports import IndexIdentity, IndexPoint, IndexQuery, IndexShadow, SearchMode, VectorIndex
from tests.contracts.events import uid

UNSETTLED = IndexIdentity(None, None)
TOPIC = "topic-1"


def point(number: int, version: int, text: str = "", embedding: list[float] | None = None, **more: Any) -> IndexPoint:
    given = {"deleted": False, "namespace": "default", "importance": 1.0, "created_at": 10, "updated_at": 20} | more
    return IndexPoint(id=uid(number), version=version, text=text, embedding=embedding, **given)


def tombstone(number: int, version: int) -> IndexPoint:
    return point(number, version, deleted=True)


def found(index: VectorIndex, text: str = "", embedding: list[float] | None = None, **more: Any) -> list[str]:
    mode: SearchMode = "hybrid" if text and embedding else "dense" if embedding else "lexical"
    query = IndexQuery(**{"mode": mode, "limit": 10, "text": text, "embedding": embedding} | more)
    return [hit.id for hit in index.search(query)]


def first_partition(ids: Sequence[str]) -> list[int]:
    return [0] * len(ids)


def fill(target: VectorIndex | IndexShadow, *points: IndexPoint, position: int = 100) -> None:
    target.write(points, TOPIC, {0: position})
