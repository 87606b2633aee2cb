"""A search in the engine's terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from soma_cli.core.adapters.vector_index import bm25
from soma_cli.core.adapters.vector_index.embeddings import check_dimension
from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import UsageError
from soma_cli.core.ports import IndexIdentity, IndexQuery

if TYPE_CHECKING:
    from qdrant_edge import Filter, Prefetch, Query, QueryRequest

DENSE = "dense"
RRF_K = 60
"""Reciprocal rank fusion adds 1 / (k + rank), rank from 0; k = 60 as in Cormack, Clarke, Buettcher (SIGIR 2009)."""
CANDIDATES = 100
"""How many hits of each kind are fused, at least."""


def query_request(query: IndexQuery, language: str, identity: IndexIdentity) -> QueryRequest | None:
    """None where there is nothing to look for: only stop words, no dense vectors in the collection, limit 0.

    Raises ValueRefused for an embedding of another dimension or with values that are no 32-bit floats, UsageError for
    an importance that is not finite: the engine would panic.
    """
    from qdrant_edge import Fusion, QueryRequest

    _check_importance(query.importance_min)
    nearest = _nearest(query, language, identity)
    if not nearest or query.limit <= 0:
        return None
    where = _filter(query)
    if query.mode != "hybrid":
        return QueryRequest(limit=query.limit, query=nearest[0], filter=where, with_payload=["version"])
    # The stubs do not say that Rrf is a Fusion.
    fusion = cast("Fusion", Fusion.Rrf(k=RRF_K))
    prefetches = [_prefetch(each, where, query.limit) for each in nearest]
    return QueryRequest(limit=query.limit, query=fusion, prefetches=prefetches, with_payload=["version"])


def _check_importance(importance: float | None) -> None:
    if importance is not None and not math.isfinite(importance):
        raise UsageError(f"the least importance is {importance}, not a finite number", hint="write for example 1.0")


def _nearest(query: IndexQuery, language: str, identity: IndexIdentity) -> list[Query]:
    from qdrant_edge import Query

    found = []
    if query.mode != "dense" and (sparse := bm25.embed_query(query.text, language)) is not None:
        found.append(Query.Nearest(sparse, using=bm25.VECTOR))
    if query.mode != "lexical" and query.embedding is not None:
        check_embedding(query.embedding)
        if identity.dimension is not None:
            check_dimension(query.embedding, identity.dimension, "the search")
            found.append(Query.Nearest(query.embedding, using=DENSE))
    return found


def _prefetch(nearest: Query, where: Filter | None, limit: int) -> Prefetch:
    from qdrant_edge import Prefetch

    return Prefetch(limit=max(limit, CANDIDATES), query=nearest, filter=where)


def _filter(query: IndexQuery) -> Filter | None:
    from qdrant_edge import FieldCondition, Filter, MatchValue, RangeFloat

    must = []
    if query.namespace is not None:
        must.append(FieldCondition("namespace", match=MatchValue(query.namespace)))
    if query.importance_min is not None:
        must.append(FieldCondition("importance", range=RangeFloat(gte=query.importance_min)))
    if query.created_from is not None or query.created_to is not None:
        within = RangeFloat(gte=_float(query.created_from), lte=_float(query.created_to))
        must.append(FieldCondition("created_at", range=within))
    return Filter(must=list(must)) if must else None


def _float(instant: int | None) -> float | None:
    return None if instant is None else float(instant)
