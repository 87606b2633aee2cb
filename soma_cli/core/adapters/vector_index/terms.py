"""What a search looks for, before it is said in an engine's words: the same for every engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from soma_cli.core.adapters.vector_index import bm25
from soma_cli.core.adapters.vector_index.embeddings import check_dimension
from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import UsageError
from soma_cli.core.ports import IndexIdentity, IndexQuery

if TYPE_CHECKING:
    from qdrant_edge import SparseVector

RRF_K = 60
"""Reciprocal rank fusion adds 1 / (k + rank), rank from 0; k = 60 as in Cormack, Clarke, Buettcher (SIGIR 2009)."""
CANDIDATES = 100
"""How many hits of each kind are fused, at least."""


class Terms(NamedTuple):
    """The vectors to be near to; None where there is none of the kind."""

    sparse: SparseVector | None
    dense: list[float] | None

    @property
    def nothing(self) -> bool:
        return self.sparse is None and self.dense is None


def terms_of(query: IndexQuery, language: str, identity: IndexIdentity) -> Terms:
    """Raises ValueRefused for an embedding of another dimension or with values that are no 32-bit floats, UsageError
    for an importance that is not finite: an engine would panic."""
    if query.importance_min is not None and not math.isfinite(query.importance_min):
        raise UsageError(
            f"the least importance is {query.importance_min}, not a finite number", hint="write for example 1.0"
        )
    sparse = None if query.mode == "dense" else bm25.embed_query(query.text, language)
    return Terms(sparse, None if query.mode == "lexical" else _dense(query.embedding, identity))


def _dense(embedding: list[float] | None, identity: IndexIdentity) -> list[float] | None:
    if embedding is None:
        return None
    check_embedding(embedding)
    if identity.dimension is None:
        return None
    check_dimension(embedding, identity.dimension, "the search")
    return embedding
