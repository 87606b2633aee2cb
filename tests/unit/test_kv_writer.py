"""kv and a store that refuses values: which records are rejected, and when that is the store's own fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.adapters.memory_store.sqlite import SqliteMemoryStore
from soma_cli.core.errors import ValueRefused
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.ports import Applied, Batch, Run
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.workers.kv_writer import KvWriter
from soma_cli.core.workers.projection import PoisonStorm
from tests.contracts.events import new_record


class RefusingTables:
    """The tables of a store that holds no event, and where told so not even that one was rejected."""

    def __init__(self, store: SqliteMemoryStore, *, rejections_too: bool = False) -> None:
        self._store = store
        self._rejections_too = rejections_too

    def positions(self, topic_id: str) -> dict[int, int]:
        return self._store.positions(topic_id)

    def apply(self, batch: Batch) -> Applied:
        entries = [entry for run in batch.runs for entry in run.entries]
        if any(self._rejections_too or entry.event is not None for entry in entries):
            raise ValueRefused("the store cannot hold it")
        return self._store.apply(batch)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    made = SqliteEventLog(open_data_folder(tmp_path / "data"))
    made.append([new_record(number, number) for number in range(1, 9)])
    yield made
    made.close()


@pytest.fixture
def store(log: SqliteEventLog, tmp_path: Path) -> Iterator[SqliteMemoryStore]:
    made = SqliteMemoryStore(open_data_folder(tmp_path / "data"))
    made.register_topic(EVENTS_TOPIC, log.topic_id(EVENTS_TOPIC))
    yield made
    made.close()


def all_of(log: SqliteEventLog) -> Run:
    end = log.bounds(EVENTS_TOPIC)[0].end
    return Run(0, 0, end, list(log.scan(EVENTS_TOPIC, 0, 0, end)))


def test_a_store_that_refuses_everything_does_not_drain_the_log_into_the_dead_letters(
    log: SqliteEventLog, store: SqliteMemoryStore
) -> None:
    topic_id = log.topic_id(EVENTS_TOPIC)

    def rejects_before(partition: int, limit: int) -> int:
        return store.trailing_rejects(topic_id, partition, limit)

    kv = KvWriter(log, RefusingTables(store), topic_id, max_rejects_in_a_row=3, rejects_before=rejects_before)
    for _ in range(2):  # started again, it drains no more
        with pytest.raises(PoisonStorm, match="kv stopped before memory"):
            kv.process([all_of(log)])
        assert len(read_letters(log)) == 3


def test_the_worker_that_stopped_is_the_one_to_go_on_with(log: SqliteEventLog, store: SqliteMemoryStore) -> None:
    landing = KvWriter(
        log, RefusingTables(store), log.topic_id(EVENTS_TOPIC), max_rejects_in_a_row=1, rejects_before=lambda *_: 1
    )
    landing.name = "landing"
    with pytest.raises(PoisonStorm, match="landing stopped before memory") as storm:
        landing.process([all_of(log)])
    assert "soma consume landing --max-rejects 0" in storm.value.hint


def test_a_store_that_cannot_hold_a_rejection_either_is_told_at_once(
    log: SqliteEventLog, store: SqliteMemoryStore
) -> None:
    kv = KvWriter(log, RefusingTables(store, rejections_too=True), log.topic_id(EVENTS_TOPIC))
    with pytest.raises(ValueRefused, match="the store cannot hold it"):
        kv.process([all_of(log)])
    assert len(read_letters(log)) <= 1
