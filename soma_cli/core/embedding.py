"""What an embedding must be, for every index and before anything is appended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from soma_cli.core.errors import ValueRefused

FLOAT32_MAX = 3.4028234663852886e38
LONGEST = math.sqrt(FLOAT32_MAX)
"""Indexes compute the squared length in single precision, to divide by the length (cosine)."""


def check_embedding(embedding: Sequence[float], subject: str = "the embedding") -> None:
    """Raises ValueRefused for an empty vector, and for numbers or a length that single precision can't hold."""
    if not embedding:
        raise ValueRefused(f"{subject} is empty", pointer="/embedding", code="embedding")
    try:
        if math.hypot(*embedding) <= LONGEST:
            return
    except (TypeError, OverflowError) as error:
        raise ValueRefused(f"{subject} holds what is no number: {error}", code="embedding") from error
    at = next((place for place, number in enumerate(embedding) if not abs(number) <= FLOAT32_MAX), None)
    what = "a length" if at is None else f"the value {embedding[at]!r} at {at},"
    raise ValueRefused(
        f"{subject} has {what} beyond single precision",
        pointer="/embedding" if at is None else f"/embedding/{at}",
        hint="embeddings hold finite numbers, usually of a vector of length 1",
        code="embedding",
    )
