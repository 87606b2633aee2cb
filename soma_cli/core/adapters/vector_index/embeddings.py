"""What a collection asks of its points: ids that are UUIDs, embeddings of one model and dimension."""

from __future__ import annotations

import re
from collections.abc import Sequence

from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import ValueRefused
from soma_cli.core.ports import IndexIdentity, IndexPoint

DENSE = "dense"
"""The name of the dense vector in every collection."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_uuid(id: str) -> bool:
    return UUID.fullmatch(id) is not None


def settled_dimension(points: Sequence[IndexPoint], dimension: int | None) -> int | None:
    """Check what the points bring, before any of them is written. The dimension, settled now if it was not."""
    for point in points:
        if not is_uuid(point.id):
            raise ValueRefused(f"the index holds memories by UUID; {point.id!r} is none", pointer="/id")
        if point.embedding is None or point.deleted:
            continue
        subject = f"memory {point.id}"
        check_embedding(point.embedding, f"the embedding of {subject}")
        dimension = dimension or len(point.embedding)
        check_dimension(point.embedding, dimension, subject)
    return dimension


def settles(now: IndexIdentity, identity: IndexIdentity) -> bool:
    """Whether `identity` settles what `now` leaves open. Raises ValueRefused where that is settled otherwise."""
    if identity == now or (identity.dimension is None and identity.model_revision == now.model_revision):
        return False
    if now.dimension is not None or now.model_revision not in (None, identity.model_revision):
        raise another_model(now, identity)
    return True


def another_model(now: IndexIdentity, other: IndexIdentity) -> ValueRefused:
    return ValueRefused(
        f"the collection holds vectors of {now.model_revision or 'an unnamed model'} with {now.dimension} dimensions, "
        f"not of {other.model_revision or 'an unnamed model'} with {other.dimension}",
        pointer="/model_revision",
        hint="rebuild the index with the other model: soma replay --into vector --execute",
        code="another_model",
    )


def newest_of(points: Sequence[IndexPoint]) -> list[IndexPoint]:
    """One point an id: of several the one of the highest version, of equal ones the last."""
    newest: dict[str, IndexPoint] = {}
    for point in points:
        if point.id not in newest or point.version >= newest[point.id].version:
            newest[point.id] = point
    return list(newest.values())


def check_dimension(embedding: Sequence[float], dimension: int, subject: str) -> None:
    """Raises ValueRefused unless the embedding has the collection's dimension."""
    if len(embedding) != dimension:
        raise ValueRefused(
            f"the embedding of {subject} has {len(embedding)} dimensions, the collection's have {dimension}",
            pointer="/embedding",
            hint="embed with the collection's model, or rebuild the index with the new one: soma replay --into vector",
            code="wrong_dimension",
        )
