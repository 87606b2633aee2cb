"""What comes back on embedding.responses, in whatever order."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest

from soma_cli.core.eventing.embedding_messages import EmbeddingResponse
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import EventLog, IndexIdentity, IndexPoint, MemoryStore, Run, VectorIndex
from soma_cli.core.record import RESPONSES_TOPIC, Record
from soma_cli.core.workers.response_indexer import ResponseIndexer
from tests.contracts.events import uid

STATE = MemoryState(uid(1), "default", b'{"text":"new"}', 1.0, 1, 2, 20, uid(9), None, False)


class Store:
    def states(self, ids: Collection[str]) -> dict[str, MemoryState]:
        return {STATE.id: STATE} if STATE.id in ids else {}


class Index:
    def __init__(self) -> None:
        self.written: list[IndexPoint] = []

    def identity(self) -> IndexIdentity:
        return IndexIdentity("m", 2)

    def write(self, points: Collection[IndexPoint], topic_id: str, positions: dict[int, int]) -> None:
        self.written += points


def answer(offset: int, version: int, embedding: list[float]) -> Record:
    value = EmbeddingResponse(STATE.id, version, "m", embedding).record().value
    return Record(RESPONSES_TOPIC, 0, offset, 0, STATE.id.encode(), value)


def point(state: MemoryState, embedding: list[float] | None) -> IndexPoint:
    return IndexPoint(state.id, state.version, False, "default", 1.0, 1, 2, "new", embedding)


@pytest.mark.parametrize("order", [(10, 20), (20, 10), (20, 10, 20), (10, 20, 10)])
def test_the_answer_to_the_newest_request_counts_wherever_it_comes(order: tuple[int, ...]) -> None:
    index = Index()
    indexer = ResponseIndexer(
        cast(EventLog, None), cast(MemoryStore, Store()), cast(VectorIndex, index), "topic", point, dict
    )
    records = [answer(offset, version, [float(version), 1.0]) for offset, version in enumerate(order)]
    tally = indexer.process([Run(0, 0, len(records), records)])
    assert [(made.version, made.embedding) for made in index.written] == [(20, [20.0, 1.0])]
    assert (tally.read, tally.applied) == (len(order), 1)
