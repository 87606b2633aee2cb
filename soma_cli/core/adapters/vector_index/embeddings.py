"""The dimension that a collection asks of an embedding."""

from __future__ import annotations

from collections.abc import Sequence

from soma_cli.core.errors import ValueRefused


def check_dimension(embedding: Sequence[float], dimension: int, subject: str) -> None:
    """Raises ValueRefused unless the embedding has the collection's dimension."""
    if len(embedding) != dimension:
        raise ValueRefused(
            f"the embedding of {subject} has {len(embedding)} dimensions, the collection's have {dimension}",
            pointer="/embedding",
            hint="embed with the collection's model, or rebuild the index with the new one: soma replay --into vector",
            code="wrong_dimension",
        )
