"""A search in the engine's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from soma_cli.core.adapters.vector_index import bm25
from soma_cli.core.adapters.vector_index.embeddings import DENSE
from soma_cli.core.adapters.vector_index.terms import CANDIDATES, RRF_K, Terms, terms_of
from soma_cli.core.ports import IndexIdentity, IndexQuery

if TYPE_CHECKING:
    from qdrant_edge import Filter, Prefetch, Query, QueryRequest


def query_request(query: IndexQuery, language: str, identity: IndexIdentity) -> QueryRequest | None:
    """None where there is nothing to look for: only stop words, no dense vectors in the collection, limit 0.

    Raises what `terms_of` raises.
    """
    from qdrant_edge import Fusion, QueryRequest

    nearest = _nearest(terms_of(query, language, identity))
    if not nearest or query.limit <= 0:
        return None
    where = _filter(query)
    if query.mode != "hybrid":
        return QueryRequest(limit=query.limit, query=nearest[0], filter=where, with_payload=["version"])
    # The stubs do not say that Rrf is a Fusion.
    fusion = cast("Fusion", Fusion.Rrf(k=RRF_K))
    prefetches = [_prefetch(each, where, query.limit) for each in nearest]
    return QueryRequest(limit=query.limit, query=fusion, prefetches=prefetches, with_payload=["version"])


def _nearest(terms: Terms) -> list[Query]:
    from qdrant_edge import Query

    found = []
    if terms.sparse is not None:
        found.append(Query.Nearest(terms.sparse, using=bm25.VECTOR))
    if terms.dense is not None:
        found.append(Query.Nearest(terms.dense, using=DENSE))
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
