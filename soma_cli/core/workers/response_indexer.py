"""The other half of `consume vector` where others embed: what comes back on `embedding.responses` into the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from soma_cli.core.errors import EventRejected, InputRejected
from soma_cli.core.eventing.dead_letters import attempts_of, letter, tell_rejected
from soma_cli.core.eventing.embedding_messages import EmbeddingResponse, response_of
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import EventLog, IndexIdentity, IndexPoint, MemoryStore, Run, VectorIndex
from soma_cli.core.record import Record
from soma_cli.core.workers.names import RESPONSES, VECTOR
from soma_cli.core.workers.projection import Tally

MakePoint = Callable[[MemoryState, list[float] | None], IndexPoint]


class ResponseIndexer:
    """Indexes a vector if its memory is still at the version that was asked for.

    The position is the group's: writing a point again does no harm.
    """

    name = RESPONSES

    def __init__(
        self,
        log: EventLog,
        store: MemoryStore,
        index: VectorIndex,
        topic_id: str,
        point: MakePoint,
        positions: Callable[[], dict[int, int]],
    ) -> None:
        self._log = log
        self._store = store
        self._index = index
        self._topic_id = topic_id
        self._point = point
        self._positions = positions

    def positions(self) -> dict[int, int]:
        return self._positions()

    def process(self, runs: Sequence[Run]) -> Tally:
        tally, answers, refused = (
            Tally(),
            dict[str, tuple[Record, EmbeddingResponse]](),
            list[tuple[Record, InputRejected]](),
        )
        for record in (record for run in runs for record in run.records):
            tally.read += 1
            try:
                response = response_of(record)
                # An older request that was answered once more comes behind the answer to a newer one.
                if response.id not in answers or response.version >= answers[response.id][1].version:
                    answers[response.id] = (record, response)
            except InputRejected as error:
                refused.append((record, error))
        points = self._points(answers, refused)
        if points:
            self._index.write(points, self._topic_id, {})
        if refused:
            self._log.append([letter(VECTOR, record, error, attempts_of(record) + 1) for record, error in refused])
            for record, why in refused:
                tell_rejected(RESPONSES, record, why)
        tally.applied, tally.rejected = len(points), len(refused)
        tally.ignored = tally.read - tally.applied - tally.rejected
        return tally

    def _points(
        self, answers: dict[str, tuple[Record, EmbeddingResponse]], refused: list[tuple[Record, InputRejected]]
    ) -> list[IndexPoint]:
        points = []
        for id, state in self._store.states(answers).items():
            record, response = answers[id]
            if state.deleted or state.version != response.version:
                continue
            try:
                self._settle(IndexIdentity(response.model_revision, len(response.embedding)))
            except InputRejected as error:
                refused.append((record, error))
                continue
            points.append(self._point(state, response.embedding))
        return points

    def _settle(self, made: IndexIdentity) -> None:
        """The collection takes vectors of one model and dimension. Raises EventRejected for others."""
        held = self._index.identity()
        if held == made:
            return
        if held.dimension is None and held.model_revision in (None, made.model_revision):
            self._index.adopt(made)
            return
        raise EventRejected(
            f"the vector is of {made.model_revision} ({made.dimension} dimensions), the index holds those of "
            f"{held.model_revision} ({held.dimension} dimensions)",
            pointer="/embedding",
            hint="rebuild the index for the new model with `soma replay --into vector --execute`",
            code="wrong_dimension" if held.model_revision == made.model_revision else "wrong_model",
        )
