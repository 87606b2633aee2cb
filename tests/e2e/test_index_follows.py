"""The index worker: nothing that an event holds stops it for good, and nothing before its position is left out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.errors import ConfigurationError, TooManyRejects, ValueRefused
from soma_cli.core.event import new_id
from soma_cli.core.ports import PositionMismatch, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.serialization import serialize
from soma_cli.core.settings import EmbedderSettings, Settings, WorkerSettings
from soma_cli.core.system import MemorySystem, create_memory_system
from tests.services.embedding_server import running_embedding_server


@pytest.fixture
def system(tmp_path: Path) -> Iterator[MemorySystem]:
    with MemorySystem(Settings(data_dir=tmp_path, worker=WorkerSettings(max_rejects_in_a_row=3))) as made:
        yield made


def foreign(system: MemorySystem, embedding: list[float], revision: str = "m", text: str = "foreign") -> str:
    """Append an event with a vector that no producer would let through."""
    id = new_id()
    event = {
        "event_id": new_id(),
        "id": id,
        "namespace": "default",
        "type": "created",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"text": text},
        "embedding": embedding,
        "model_revision": revision,
    }
    system.adapters.log.append([NewRecord(EVENTS_TOPIC, id.encode(), serialize(event))])
    return id


def test_a_vector_that_no_index_can_hold_costs_itself_only(system: MemorySystem) -> None:
    with pytest.raises(ValueRefused):
        system.store(text="refused at once", embedding=[1e30, 1.0])
    before = system.store(text="window", embedding=[1.0, 0.0], model_revision="m").id
    bad = foreign(system, [1e30, 1.0])
    after = system.store(text="aisle", embedding=[0.0, 1.0], model_revision="m").id
    assert {hit.id for hit in system.search("window foreign aisle")} == {before, bad, after}
    assert [hit.id for hit in system.search(embedding=[0.0, 1.0])] == [after, before]
    assert [(letter.worker, letter.code) for letter in system.admin.dead_letters()] == [("vector", "embedding")]


def test_too_many_bad_vectors_in_a_row_stop_the_worker_and_searches_answer_with_what_there_is(
    system: MemorySystem, caplog: pytest.LogCaptureFixture
) -> None:
    first = system.store(text="first", embedding=[1.0, 0.0], model_revision="m").id
    assert [hit.id for hit in system.search("first")] == [first]
    for _ in range(5):
        foreign(system, [1.0], text="first")
    for _ in range(2):
        with pytest.raises(TooManyRejects):
            system.admin.worker("vector", until_end=True).run()
    assert system.admin.dead_letters() == [], "a restart does not drain the log into dead letters"
    assert [hit.id for hit in system.search("first")] == [first]
    assert "not up to date" in caplog.text
    system.admin.worker("vector", until_end=True, max_rejects=0).run()
    assert len(system.admin.dead_letters()) == 5
    assert len(system.search("first")) == 6


def test_a_run_that_starts_behind_the_position_is_refused(system: MemorySystem) -> None:
    for number in range(3):
        system.store(text=f"memory {number}")
    records: list[Record] = list(system.adapters.log.scan(EVENTS_TOPIC, 0, 2, 3))
    with pytest.raises(PositionMismatch) as mismatch:
        system.indexer().process([Run(0, 2, 3, records)])
    assert mismatch.value.stored == 0
    assert len(system.search("memory")) == 3


def test_an_index_that_was_deleted_is_made_anew_by_a_running_worker(system: MemorySystem, tmp_path: Path) -> None:
    for number in range(3):
        system.store(text=f"memory {number}")
    system.apply_vector()
    worker = system.admin.worker("vector", max_events=4)
    system.adapters.index.release()
    shutil.rmtree(tmp_path / "index")
    system.store(text="memory 3")
    worker.run()
    assert len(system.search("memory")) == 4


def test_after_a_new_epoch_equal_offsets_of_two_logs_are_not_mistaken(tmp_path: Path) -> None:
    with create_memory_system(data_dir=tmp_path) as system:
        old = system.store(text="old banana").id
        assert [hit.id for hit in system.search("banana")] == [old]
    for file in tmp_path.glob("log.sqlite3*"):
        file.unlink()
    with create_memory_system(data_dir=tmp_path) as system:
        system.admin.init(new_epoch=True)
        fresh = system.store(text="fresh apple").id
        system.update(old, text="old cherry")
        assert [hit.id for hit in system.search("apple")] == [fresh]
        assert [hit.id for hit in system.search("cherry")] == [old]
        assert system.search("banana") == []


def test_vectors_of_two_models_never_mix_in_a_search(tmp_path: Path) -> None:
    with running_embedding_server() as url:
        embedder = EmbedderSettings(kind="openai_http", url=url, model="b")
        with MemorySystem(Settings(data_dir=tmp_path, embedder=embedder)) as system:
            id = system.store(text="window seat").id
            assert [hit.id for hit in system.search("window", mode="dense")] == [id]
        other = EmbedderSettings(kind="openai_http", url=url, model="c")
        with MemorySystem(Settings(data_dir=tmp_path, embedder=other)) as system:
            with pytest.raises(ConfigurationError, match=r"vectors of b \(64 dimensions\).*those of c"):
                system.search("window", mode="dense")
            assert [hit.id for hit in system.search("window", mode="lexical")] == [id]
            assert system.admin.rebuild("vector").executed
            assert [hit.id for hit in system.search("window", mode="dense")] == [id]
            assert system.adapters.index.identity().model_revision == "c"


def test_a_rebuild_that_ended_leaves_the_tables_of_the_next_one_alone(system: MemorySystem) -> None:
    system.store(text="one")
    system.apply_kv()
    topic_id = system.adapters.log.topic_id(EVENTS_TOPIC)
    first = system.adapters.store.shadow(topic_id)
    first.discard()
    second = system.adapters.store.shadow(topic_id)
    first.discard()
    assert second.positions(topic_id) == {}
    second.discard()
