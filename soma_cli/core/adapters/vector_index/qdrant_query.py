"""A search in the server's terms."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from soma_cli.core.adapters.vector_index import bm25
from soma_cli.core.adapters.vector_index.embeddings import DENSE
from soma_cli.core.adapters.vector_index.terms import CANDIDATES, RRF_K, Terms, terms_of
from soma_cli.core.ports import IndexIdentity, IndexQuery

LIVE = models.FieldCondition(key="deleted", match=models.MatchValue(value=False))
"""Holds for points of live memories, and neither for tombstones nor for reserved points."""


def query_arguments(query: IndexQuery, language: str, identity: IndexIdentity) -> dict[str, Any] | None:
    """Arguments of `query_points`; None where there is nothing to look for: only stop words, no dense vectors in the
    collection, limit 0. Raises what `terms_of` raises."""
    terms = terms_of(query, language, identity)
    if terms.nothing or query.limit <= 0:
        return None
    where, nearest = _filter(query), _nearest(terms)
    arguments: dict[str, Any] = {"limit": query.limit, "with_payload": ["version"]}
    if query.mode != "hybrid":
        using, vector = nearest[0]
        return arguments | {"query": vector, "using": using, "query_filter": where}
    limit = max(query.limit, CANDIDATES)
    prefetch = [models.Prefetch(query=vector, using=using, filter=where, limit=limit) for using, vector in nearest]
    return arguments | {"prefetch": prefetch, "query": models.RrfQuery(rrf=models.Rrf(k=RRF_K))}


def _nearest(terms: Terms) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if terms.sparse is not None:
        found.append((bm25.VECTOR, sparse_vector(terms.sparse)))
    if terms.dense is not None:
        found.append((DENSE, terms.dense))
    return found


def sparse_vector(vector: Any) -> models.SparseVector:
    """The engine's sparse vector as the client has it."""
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def _filter(query: IndexQuery) -> models.Filter:
    must: list[models.Condition] = [LIVE]
    if query.namespace is not None:
        must.append(models.FieldCondition(key="namespace", match=models.MatchValue(value=query.namespace)))
    if query.importance_min is not None:
        must.append(models.FieldCondition(key="importance", range=models.Range(gte=query.importance_min)))
    if query.created_from is not None or query.created_to is not None:
        within = models.Range(gte=query.created_from, lte=query.created_to)
        must.append(models.FieldCondition(key="created_at", range=within))
    return models.Filter(must=must)
