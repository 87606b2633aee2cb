"""What an embedding must be before an index sees it; the engine itself would take NaN and zero out an overflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from soma_cli.core.errors import ValueRefused

FLOAT32_MAX = 3.4028234663852886e38
LONGEST = math.sqrt(FLOAT32_MAX)


def check_embedding(embedding: Sequence[float], subject: str) -> None:
    """Raises ValueRefused for an empty vector, NaN, infinities, and lengths beyond a 32-bit float.

    The squared length must fit too: the index divides by the length (cosine), computed in 32 bits.
    """
    if not embedding:
        raise ValueRefused(f"the embedding of {subject} is empty", pointer="/embedding", code="embedding_empty")
    if not math.hypot(*embedding) <= LONGEST:
        at = next((i for i, x in enumerate(embedding) if not abs(x) <= FLOAT32_MAX), None)
        raise ValueRefused(
            f"the embedding of {subject} has a value that a 32-bit index cannot hold",
            pointer="/embedding" if at is None else f"/embedding/{at}",
            hint="embeddings hold finite numbers, usually of a vector of length 1",
            code="embedding_not_finite",
        )


def check_dimension(embedding: Sequence[float], dimension: int, subject: str) -> None:
    """Raises ValueRefused unless the embedding has the collection's dimension."""
    if len(embedding) != dimension:
        raise ValueRefused(
            f"the embedding of {subject} has {len(embedding)} dimensions, the collection's have {dimension}",
            pointer="/embedding",
            hint="embed with the collection's model, or rebuild the index with the new one: soma replay --into vector",
            code="wrong_dimension",
        )
