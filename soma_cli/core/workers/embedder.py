"""embed: serves `embedding.requests` with the configured embedder, and answers on `embedding.responses`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from soma_cli.core.errors import InputRejected, ValueRefused
from soma_cli.core.eventing.dead_letters import attempts_of, letter, tell_rejected
from soma_cli.core.eventing.embedding_messages import EmbeddingRequest, EmbeddingResponse, request_of
from soma_cli.core.ports import Embedder, EventLog, Run
from soma_cli.core.record import Record
from soma_cli.core.workers.names import EMBED
from soma_cli.core.workers.projection import Tally


class RequestEmbedder:
    """Answers each request at least once: the position is the group's, committed after the answers are in the log.

    `alive` is called while the embedder is at work on a run, after each of its answers.
    """

    name = EMBED

    def __init__(
        self,
        log: EventLog,
        embedder: Embedder,
        positions: Callable[[], dict[int, int]],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._embedder = embedder
        self._positions = positions
        self._alive = alive

    def positions(self) -> dict[int, int]:
        return self._positions()

    def process(self, runs: Sequence[Run]) -> Tally:
        records = [record for run in runs for record in run.records]
        refused: list[tuple[Record, InputRejected]] = []
        asked: list[tuple[Record, EmbeddingRequest]] = []
        for record in records:
            try:
                asked.append((record, request_of(record)))
            except InputRejected as error:
                refused.append((record, error))
        answers = self._answers(asked, refused)
        letters = [letter(EMBED, record, error, attempts_of(record) + 1) for record, error in refused]
        if answers or letters:
            self._log.append([*(answer.record() for answer in answers), *letters])
        for record, why in refused:
            tell_rejected(EMBED, record, why)
        return Tally(read=len(records), applied=len(answers), rejected=len(letters))

    def _answers(
        self, asked: list[tuple[Record, EmbeddingRequest]], refused: list[tuple[Record, InputRejected]]
    ) -> list[EmbeddingResponse]:
        """Of those whose text the embedder takes; the others are `refused`."""
        if not asked:
            return []
        try:
            vectors = self._embedder.embed([request.text for _, request in asked], self._alive)
        except ValueRefused as error:
            messages = {item["index"]: item["message"] for item in error.details["refused"]}
            refused += [(asked[number][0], ValueRefused(text, code=error.code)) for number, text in messages.items()]
            return self._answers([item for number, item in enumerate(asked) if number not in messages], refused)
        revision = self._embedder.model_revision
        return [
            EmbeddingResponse(request.id, request.version, revision, vector)
            for (_, request), vector in zip(asked, vectors, strict=True)
        ]
