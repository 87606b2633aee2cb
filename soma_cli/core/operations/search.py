"""Search: the index proposes, the canonical rows decide."""

from __future__ import annotations

from dataclasses import replace

from soma_cli.core.errors import UsageError
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Embedder, Hit, IndexIdentity, IndexQuery, MemoryStore, SearchMode, VectorIndex
from soma_cli.core.results import SearchHit
from soma_cli.core.workers.vector_indexer import other_model

_WIDENINGS = 4


def plan_query(query: IndexQuery, mode: SearchMode | None, index: VectorIndex, embedder: Embedder | None) -> IndexQuery:
    """Settle the mode and the query's vector. Without a mode: hybrid where both text and vectors are there."""
    can_embed = embedder is not None or query.embedding is not None
    has_text = bool(query.text.strip())
    if mode is None:
        dense = query.embedding is not None or (embedder is not None and index.identity().dimension is not None)
        mode = ("hybrid" if has_text else "dense") if dense else "lexical"
    if mode != "dense" and not has_text:
        raise UsageError(f"a {mode} search needs a text", hint='write `soma search "..."`')
    if mode == "lexical":
        return replace(query, mode=mode, embedding=None)
    if not can_embed:
        raise UsageError(
            f"a {mode} search needs a vector, and no embedder is configured",
            hint="give --embedding FILE, configure `embedder`, or search with --mode lexical",
        )
    if query.embedding is not None:
        return replace(query, mode=mode)
    assert embedder is not None
    held = index.identity()
    if held.model_revision != embedder.model_revision:
        raise other_model(held, IndexIdentity(embedder.model_revision, None))
    return replace(query, mode=mode, embedding=embedder.embed([query.text])[0])


def search(store: MemoryStore, index: VectorIndex, query: IndexQuery) -> list[SearchHit]:
    """Best first. Hits whose row is gone or newer than the index are dropped, and others fetched in their place."""
    wanted = query.limit
    for _ in range(_WIDENINGS):
        hits = index.search(query)
        found = _confirmed(store, hits)
        if len(found) >= wanted or len(hits) < query.limit:
            break
        query = replace(query, limit=query.limit * 4)
    return [SearchHit(hit.id, hit.score, state.namespace, state.payload) for hit, state in found[:wanted]]


def _confirmed(store: MemoryStore, hits: list[Hit]) -> list[tuple[Hit, MemoryState]]:
    states = store.states([hit.id for hit in hits])
    pairs = ((hit, states.get(hit.id)) for hit in hits)
    return [
        (hit, state) for hit, state in pairs if state is not None and not state.deleted and state.version == hit.version
    ]
