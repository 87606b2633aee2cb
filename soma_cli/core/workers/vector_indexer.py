"""vector: the search index, following kv. It never decides; it indexes the states that kv made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import ConfigurationError, EventRejected, InputRejected, TooManyRejects, ValueRefused
from soma_cli.core.event import version_of
from soma_cli.core.eventing.dead_letters import attempts_of, letter, tell_rejected
from soma_cli.core.eventing.embedding_messages import EmbeddingRequest
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import (
    Embedder,
    EventLog,
    IndexIdentity,
    IndexPoint,
    IndexShadow,
    MemoryStore,
    PositionMismatch,
    Run,
    VectorIndex,
)
from soma_cli.core.record import EVENTS_TOPIC, Position, Record
from soma_cli.core.serialization import deserialize
from soma_cli.core.text import text_of
from soma_cli.core.workers.names import VECTOR
from soma_cli.core.workers.projection import Tally, ends_of_runs

Refused = list[tuple[Record, InputRejected]]
"""Records whose dense vector is refused, and why; never cut to fit. Their text is indexed all the same."""


Held = Callable[[Sequence[str]], dict[str, int]]
"""The versions that the index has of these memories."""


class FollowKv(Protocol):
    """Returns once kv has passed these ends of partitions; raises Behind where that is to be waited for."""

    def __call__(self, ends: Mapping[int, int]) -> None: ...


class VectorIndexer:
    """Projection into an index, or into the shadow of one.

    Only events that are still their memory's newest are indexed: for the others a later run does it. One that `asks`
    has no embedder: it indexes the text at once, and asks for the vector on `embedding.requests`; it is given how to
    look up what the index has. `alive` is called
    while the embedder is at work on a run, after each of its answers.
    """

    name = VECTOR

    def __init__(
        self,
        log: EventLog,
        store: MemoryStore,
        index: VectorIndex | IndexShadow,
        topic_id: str,
        *,
        epoch: int,
        follow: FollowKv,
        embedder: Embedder | None,
        text_pointers: Sequence[str] = (),
        max_rejects_in_a_row: int = 0,
        bury: bool = True,
        asks: Held | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._store = store
        self._index = index
        self._topic_id = topic_id
        self._epoch = epoch
        self._follow = follow
        self._embedder = embedder
        self._text_pointers = text_pointers
        self._max_rejects = max_rejects_in_a_row
        self._bury = bury
        self._asks = asks
        self._alive = alive
        self._rejects_in_a_row = 0

    def positions(self) -> dict[int, int]:
        return self._index.positions(self._topic_id)

    def process(self, runs: Sequence[Run]) -> Tally:
        ends = ends_of_runs(runs)
        self._follow(ends)
        stored = self.positions()
        for run in runs:
            if run.start > (passed := stored.get(run.partition, 0)):
                message = f"the run of partition {run.partition} starts at {run.start}, the stored position is {passed}"
                raise PositionMismatch(message, run.partition, passed)
        records = [record for run in runs for record in run.records]
        newest = self._newest(records)
        refused: Refused = []
        embeddings = self._embeddings(newest, refused)
        points = {state.id: self.point(state, embeddings.get(state.id)) for _, state in newest}
        if self._asks is not None:
            points = self._asked(points)
        if not refused:
            try:
                self._index.write(list(points.values()), self._topic_id, ends)
                return _tally(records, [record for record, _ in newest], rejected=0, stored=stored)
            except ValueRefused:
                self._isolate(newest, points, refused)
        letters = self._letters(refused, newest, stored)
        self._index.write(list(points.values()), self._topic_id, ends)
        return _tally(records, [record for record, _ in newest], rejected=letters, stored=stored)

    def _asked(self, points: dict[str, IndexPoint]) -> dict[str, IndexPoint]:
        """Index the texts and ask for their vectors; returns the points that need none.

        The text comes first: written after its vector had come back, it would take that from the point again. For the
        same reason it is not written where the index has this version already, in a run that is delivered once more.
        """
        assert self._asks is not None
        wanted = [p for p in points.values() if p.text.strip() and p.embedding is None and not p.deleted]
        if wanted:
            held = self._asks([point.id for point in wanted])
            missing = [point for point in wanted if held.get(point.id) != point.version]
            if missing:
                self._index.write(missing, self._topic_id, {})
            self._log.append([EmbeddingRequest(point.id, point.version, point.text).record() for point in wanted])
        asked = {point.id for point in wanted}
        return {id: point for id, point in points.items() if id not in asked}

    def _isolate(
        self, items: Sequence[tuple[Record, MemoryState]], points: dict[str, IndexPoint], refused: Refused
    ) -> None:
        """The index refused something: find it by halves, and take the vectors that it can't hold from the points."""
        try:
            self._index.write([points[state.id] for _, state in items], self._topic_id, {})
        except ValueRefused as error:
            if len(items) > 1:
                half = len(items) // 2
                self._isolate(items[:half], points, refused)
                self._isolate(items[half:], points, refused)
                return
            record, state = items[0]
            if points[state.id].embedding is None:
                raise
            points[state.id] = points[state.id]._replace(embedding=None)
            refused.append((record, error))

    def _letters(
        self, refused: Refused, newest: Sequence[tuple[Record, MemoryState]], stored: Mapping[int, int]
    ) -> int:
        """Write the dead letters, and say how many. Not before the embedder is done with the run: each new try would
        write them again. And not for what was passed before: its letter may have been settled since."""
        fresh = [(record, error) for record, error in refused if _is_fresh(record, stored)]
        self._stop_a_storm({record.position: error for record, error in fresh}, [record for record, _ in newest])
        if self._bury and fresh:
            self._log.append([letter(VECTOR, record, error, attempts_of(record) + 1) for record, error in fresh])
            for record, error in fresh:
                tell_rejected(VECTOR, record, error)
        return len(fresh)

    def _stop_a_storm(self, refused: dict[Position, InputRejected], newest: Sequence[Record]) -> None:
        """Raises TooManyRejects before anything of the run is buried, so that a restart does not drain it either."""
        streak = self._rejects_in_a_row
        for record in newest:
            error = refused.get(record.position)
            streak = 0 if error is None else streak + 1
            if error is not None and self._max_rejects and streak > self._max_rejects:
                raise TooManyRejects(
                    f"vector stopped before {record.position}: more than {self._max_rejects} vectors in a row were "
                    f"rejected, the next for this: {error.message}",
                    hint="if they really are bad, go on with `soma consume vector --max-rejects 0`",
                    details={"position": str(record.position), "code": error.code},
                )
        self._rejects_in_a_row = streak

    def _newest(self, records: Sequence[Record]) -> list[tuple[Record, MemoryState]]:
        """The records whose event made their memory's present state."""
        keyed = [record for record in records if record.key and record.value is not None]
        keys = [record.key or b"" for record in keyed]
        states = {state.id.encode(): state for state in self._store.states(_texts(keys)).values()}
        return [
            (record, state)
            for record, key, partition in zip(keyed, keys, self._log.partitions_of(EVENTS_TOPIC, keys), strict=True)
            if (state := states.get(key)) is not None
            and state.version == version_of(self._epoch, record.offset)
            and partition == record.partition
        ]

    def point(self, state: MemoryState, embedding: list[float] | None) -> IndexPoint:
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
        identity = self._index.identity()
        for record, state in newest:
            if state.deleted:
                continue
            try:
                own, identity = self._own_embedding(record, state, identity)
            except InputRejected as error:
                refused.append((record, error))
                continue
            if own is not None:
                vectors[state.id] = own
            elif self._embedder is not None:
                to_embed.append((record, state))
        vectors.update(self._embedded(to_embed, refused))
        return vectors

    def _own_embedding(
        self, record: Record, state: MemoryState, held: IndexIdentity
    ) -> tuple[list[float] | None, IndexIdentity]:
        """The event's vector where the collection holds its kind, and what the collection holds from then on."""
        if record.value is None or b'"embedding"' not in record.value:
            return None, held
        embedding = deserialize(record.value).get("embedding")
        if not embedding:
            return None, held
        check_embedding(embedding)
        if held.dimension is None and self._embedder is None and held.model_revision in (None, state.model_revision):
            # The first embedding ever seen settles what the collection holds, unless settings did.
            held = IndexIdentity(state.model_revision, len(embedding))
            self._index.adopt(held)
        if held.dimension is None or state.model_revision != held.model_revision:
            return None, held
        if len(embedding) != held.dimension:
            raise EventRejected(
                f"the embedding has {len(embedding)} dimensions, the index has {held.dimension}",
                pointer="/embedding",
                code="wrong_dimension",
            )
        return list(embedding), held

    def _embedded(self, items: list[tuple[Record, MemoryState]], refused: Refused) -> dict[str, list[float]]:
        if self._embedder is None or not items:
            return {}
        texts = [text_of(state.payload, self._text_pointers) for _, state in items]
        wanted = [(text, item) for text, item in zip(texts, items, strict=True) if text.strip()]
        if not wanted:
            return {}
        try:
            vectors = self._embedder.embed([text for text, _ in wanted], self._alive)
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
        if held.dimension is None and held.model_revision in (None, made.model_revision):
            self._index.adopt(made)
        elif held != made:
            raise other_model(held, made)


def other_model(held: IndexIdentity, made: IndexIdentity) -> ConfigurationError:
    """Vectors of two models never mix, neither in the collection nor in a search of it."""
    return ConfigurationError(
        f"the index holds vectors of {_model(held)}, but the embedder makes those of {_model(made)}",
        hint="rebuild the index for the new model with `soma replay --into vector --execute` "
        "(and let index.model_revision, if it is set, name that model); or search with --mode lexical",
        code="index_model_differs",
    )


def _model(identity: IndexIdentity) -> str:
    name = identity.model_revision or "no named model"
    return name if identity.dimension is None else f"{name} ({identity.dimension} dimensions)"


def _texts(keys: Sequence[bytes]) -> set[str]:
    return {key.decode("ascii", errors="replace") for key in keys}


def _is_fresh(record: Record, stored: Mapping[int, int]) -> bool:
    return record.offset >= stored.get(record.partition, 0)


def _tally(records: Sequence[Record], newest: Sequence[Record], *, rejected: int, stored: Mapping[int, int]) -> Tally:
    """What was passed before is redelivered, and nothing else, though its points were written again."""
    redelivered = sum(1 for record in records if not _is_fresh(record, stored))
    if redelivered == len(records):
        return Tally(read=len(records), redelivered=redelivered)
    fresh = sum(1 for record in newest if _is_fresh(record, stored))
    return Tally(
        read=len(records),
        applied=fresh - rejected,
        ignored=len(records) - redelivered - fresh,
        rejected=rejected,
        redelivered=redelivered,
    )
