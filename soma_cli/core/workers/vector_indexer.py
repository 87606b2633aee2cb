"""vector: the search index, following kv. It never decides; it indexes the states that kv made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from soma_cli.core.errors import ConfigurationError, EventRejected, InputRejected, ValueRefused
from soma_cli.core.event import offset_of
from soma_cli.core.eventing.dead_letters import attempts_of, letter
from soma_cli.core.eventing.producer import check_embedding
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Embedder, EventLog, IndexIdentity, IndexPoint, IndexShadow, MemoryStore, VectorIndex
from soma_cli.core.record import NewRecord, Record
from soma_cli.core.serialization import deserialize
from soma_cli.core.text import text_of
from soma_cli.core.workers.projection import Tally

VECTOR = "vector"

Refused = list[tuple[Record, InputRejected]]
"""Records whose dense vector is refused, and why; never cut to fit. Their text is indexed all the same."""


class FollowKv(Protocol):
    """Returns once kv has passed `end` of the partition; raises Behind where that is to be waited for."""

    def __call__(self, partition: int, end: int) -> None: ...


class VectorIndexer:
    """Projection into an index, or into the shadow of one.

    Only events that are still their memory's newest are indexed: for the others a later run does it.
    """

    name = VECTOR

    def __init__(
        self,
        log: EventLog,
        store: MemoryStore,
        index: VectorIndex | IndexShadow,
        topic_id: str,
        *,
        follow: FollowKv,
        embedder: Embedder | None,
        text_pointers: Sequence[str] = (),
        bury: bool = True,
    ) -> None:
        self._log = log
        self._store = store
        self._index = index
        self._topic_id = topic_id
        self._follow = follow
        self._embedder = embedder
        self._text_pointers = text_pointers
        self._bury = bury

    def positions(self) -> dict[int, int]:
        return self._index.positions(self._topic_id)

    def process(self, partition: int, start: int, end: int, records: Sequence[Record]) -> Tally:
        self._follow(partition, end)
        stored = self.positions().get(partition, 0)
        newest = self._newest(records)
        refused: Refused = []
        embeddings = self._embeddings(newest, refused)
        points = [self._point(state, embeddings.get(state.id)) for _, state in newest]
        # Not before the embedder is done with the run: each new try would write the letters again. And not for what
        # was passed before: its letter may have been settled since.
        letters = [_letter(record, error) for record, error in refused if record.offset >= stored]
        if self._bury and letters:
            self._log.append(letters)
        self._index.write(points, self._topic_id, {partition: end})
        return _tally(records, [record for record, _ in newest], rejected=len(letters), stored=stored)

    def _newest(self, records: Sequence[Record]) -> list[tuple[Record, MemoryState]]:
        """The records whose event made their memory's present state."""
        keys = {record.key.decode("ascii", errors="replace") for record in records if record.key is not None}
        by_offset = {offset_of(state.version): state for state in self._store.states(keys).values()}
        found = ((record, by_offset.get(record.offset)) for record in records)
        return [
            (record, state)
            for record, state in found
            if state is not None and record.key == state.id.encode() and record.value is not None
        ]

    def _point(self, state: MemoryState, embedding: list[float] | None) -> IndexPoint:
        return IndexPoint(
            id=state.id,
            version=state.version,
            deleted=state.deleted,
            namespace=state.namespace,
            importance=state.importance,
            created_at=state.created_at,
            updated_at=state.updated_at,
            text="" if state.deleted else text_of(state.payload, self._text_pointers),
            embedding=embedding,
        )

    def _embeddings(self, newest: Sequence[tuple[Record, MemoryState]], refused: Refused) -> dict[str, list[float]]:
        """Vectors by id: the event's own where its revision is the collection's, else the embedder's, else none."""
        vectors: dict[str, list[float]] = {}
        to_embed: list[tuple[Record, MemoryState]] = []
        for record, state in newest:
            if state.deleted:
                continue
            try:
                own = self._own_embedding(record, state)
            except InputRejected as error:
                refused.append((record, error))
                continue
            if own is not None:
                vectors[state.id] = own
            elif self._embedder is not None:
                to_embed.append((record, state))
        vectors.update(self._embedded(to_embed, refused))
        return vectors

    def _own_embedding(self, record: Record, state: MemoryState) -> list[float] | None:
        if record.value is None or b'"embedding"' not in record.value:
            return None
        embedding = deserialize(record.value).get("embedding")
        if not embedding:
            return None
        check_embedding(embedding)
        identity = self._index.identity()
        if identity.dimension is None and self._embedder is None:
            # The first embedding ever seen settles what the collection holds, unless settings did.
            if identity.model_revision in (None, state.model_revision):
                self._index.adopt(IndexIdentity(state.model_revision, len(embedding)))
                return list(embedding)
            return None
        if state.model_revision != identity.model_revision:
            return None
        if identity.dimension is not None and len(embedding) != identity.dimension:
            raise EventRejected(
                f"the embedding has {len(embedding)} dimensions, the index has {identity.dimension}",
                pointer="/embedding",
                code="wrong_dimension",
            )
        return list(embedding)

    def _embedded(self, items: list[tuple[Record, MemoryState]], refused: Refused) -> dict[str, list[float]]:
        if self._embedder is None or not items:
            return {}
        texts = [text_of(state.payload, self._text_pointers) for _, state in items]
        wanted = [(text, item) for text, item in zip(texts, items, strict=True) if text.strip()]
        if not wanted:
            return {}
        try:
            vectors = self._embedder.embed([text for text, _ in wanted])
        except ValueRefused as error:
            return self._without_refused([item for _, item in wanted], error, refused)
        self._check_identity(len(vectors[0]))
        return {state.id: vector for (_, (_, state)), vector in zip(wanted, vectors, strict=True)}

    def _without_refused(
        self, items: list[tuple[Record, MemoryState]], error: ValueRefused, refused: Refused
    ) -> dict[str, list[float]]:
        """The embedder refused some texts: their records are rejected, the others are embedded."""
        messages = {item["index"]: item["message"] for item in error.details["refused"]}
        for number, message in messages.items():
            refused.append((items[number][0], ValueRefused(message, code=error.code)))
        return self._embedded([item for number, item in enumerate(items) if number not in messages], refused)

    def _check_identity(self, dimension: int) -> None:
        assert self._embedder is not None
        made = IndexIdentity(self._embedder.model_revision, dimension)
        held = self._index.identity()
        if held.dimension is None:
            self._index.adopt(made)
        elif held != made:
            raise ConfigurationError(
                f"the index holds vectors of {held.model_revision} ({held.dimension} dimensions), but the embedder "
                f"makes those of {made.model_revision} ({made.dimension})",
                hint="rebuild the index for the new model with `soma replay --into vector --execute`",
                code="index_model_differs",
            )


def _letter(record: Record, error: InputRejected) -> NewRecord:
    return letter(VECTOR, record, error, attempts_of(record) + 1)


def _tally(records: Sequence[Record], newest: Sequence[Record], *, rejected: int, stored: int) -> Tally:
    """What was passed before is redelivered, and nothing else, though its points were written again."""
    redelivered = sum(1 for record in records if record.offset < stored)
    if redelivered == len(records):
        return Tally(read=len(records), redelivered=redelivered)
    fresh = sum(1 for record in newest if record.offset >= stored)
    return Tally(
        read=len(records),
        applied=fresh - rejected,
        ignored=len(records) - redelivered - fresh,
        rejected=rejected,
        redelivered=redelivered,
    )


def follow_by(apply_kv: Callable[[int, int], None]) -> FollowKv:
    """A FollowKv that brings kv up to date by itself, for stores whose readers do so too."""

    def follow(partition: int, end: int) -> None:
        apply_kv(partition, end)

    return follow
