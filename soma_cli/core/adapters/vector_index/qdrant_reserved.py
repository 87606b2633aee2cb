"""Points of a collection that are no memories: what it is, and how far it has come.

They lie in the collection itself, so that switching the alias swaps points, identity and positions in one step. They
have no vectors and no field `deleted`, so that neither search nor count sees them; scans leave them out by id.

about      {"kind": "about", "collection", "language", "model_revision", "dimension", "alive_at"}
position   {"kind": "position", "topic_id", "partition", "next_offset"}, one a partition
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from qdrant_client import models

from soma_cli.core.errors import ConfigurationError
from soma_cli.core.ports import IndexIdentity

_NAMESPACE = UUID("736f6d61-7265-8365-8276-656400000000")
_PREFIX = "736f6d61-7265-8365-"
"""Of every reserved id, and of no memory's: a UUID of version 8 that nobody but soma makes."""
KINDS = models.Filter(
    must=[models.FieldCondition(key="kind", match=models.MatchAny(any=["about", "position"]))],
)


class About(NamedTuple):
    """`alive_at`: when the rebuild that makes the collection was last known to run (s since the epoch)."""

    collection: str
    identity: IndexIdentity
    language: str
    alive_at: float


def is_reserved(id: str) -> bool:
    return id.startswith(_PREFIX)


def reserved_id(name: str) -> str:
    return _PREFIX + str(uuid5(_NAMESPACE, name))[len(_PREFIX) :]


ABOUT = reserved_id("about")


def about_point(about: About) -> models.PointStruct:
    payload = {
        "kind": "about",
        "collection": about.collection,
        "language": about.language,
        "model_revision": about.identity.model_revision,
        "dimension": about.identity.dimension,
        "alive_at": about.alive_at,
    }
    return models.PointStruct(id=ABOUT, vector={}, payload=payload)


def about_of(payload: dict[str, Any] | None) -> About:
    try:
        found = payload or {}
        identity = IndexIdentity(found["model_revision"], found["dimension"])
        return About(found["collection"], identity, found["language"], found["alive_at"])
    except KeyError as error:
        raise ConfigurationError(
            f"the collection is not one that this version of soma made: it lacks {error}",
            hint="rebuild the index: soma replay --into vector --execute",
            code="index_foreign",
        ) from error


def position_points(topic_id: str, positions: dict[int, int]) -> list[models.PointStruct]:
    return [
        models.PointStruct(
            id=reserved_id(f"position {topic_id} {partition}"),
            vector={},
            payload={"kind": "position", "topic_id": topic_id, "partition": partition, "next_offset": offset},
        )
        for partition, offset in positions.items()
    ]


def unsettled(identity: IndexIdentity) -> models.Filter:
    """Holds for an about point that leaves open what `identity` settles."""
    open_model: models.Condition = models.IsEmptyCondition(is_empty=models.PayloadField(key="model_revision"))
    should = [open_model]
    if identity.model_revision is not None:
        match = models.MatchValue(value=identity.model_revision)
        should.append(models.FieldCondition(key="model_revision", match=match))
    return models.Filter(
        must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="dimension")), models.Filter(should=should)]
    )


def now_s() -> float:
    return time.time()
