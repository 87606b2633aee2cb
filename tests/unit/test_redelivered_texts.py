"""Where others embed: a run that is delivered once more takes no vector from the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from soma_cli.core.ports import IndexIdentity, Run
from soma_cli.core.record import EVENTS_TOPIC, REQUESTS_TOPIC, NewRecord
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.vector_indexer import VectorIndexer


def test_a_redelivered_run_leaves_the_vector_that_came_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MemorySystem(Settings(data_dir=tmp_path)) as system:
        receipt = system.store(text="window seat", wait="kv")
        log, store, index = (getattr(system.adapters, name) for name in ("log", "store", "index"))
        index.adopt(IndexIdentity("m", 2))
        asked: list[NewRecord] = []
        monkeypatch.setattr(log, "append", asked.extend)
        run = Run(0, 0, 1, list(log.scan(EVENTS_TOPIC, 0, 0, 1)))
        topic_id = log.topic_id(EVENTS_TOPIC)

        def indexer() -> VectorIndexer:
            return VectorIndexer(
                log, store, index, topic_id, epoch=0, follow=lambda ends: None, embedder=None, asks=index.versions
            )

        indexer().process([run])
        assert [(record.topic, record.key) for record in asked] == [(REQUESTS_TOPIC, receipt.id.encode())]
        assert index.versions([receipt.id]) == {receipt.id: 0}, "its text is found before its vector is there"
        state = store.states([receipt.id])[receipt.id]
        index.write([indexer().point(state, [0.6, 0.8])], topic_id, {})
        indexer().process([run])
        assert [point.dense for point in index.scan()] == [True]
        assert len(asked) == 2, "nobody knows whether the first request came through"
