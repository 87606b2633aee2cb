"""What does not land is found in the log. The table is filled here as Connect fills it, and left out at will."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.system import MemorySystem
from tests.e2e.cluster.end_state import check_table_and_journal, records_of
from tests.e2e.cluster.installation import Cluster, wait_until_kv_is_at_the_end
from tests.e2e.cluster.load import Stream, append
from tests.e2e.conftest import wait_until
from tests.services import kafka_address, postgres_dsn

NEVER_S = 3600.0


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """One partition, no Connect."""
    monkeypatch.chdir(tmp_path)
    with Cluster(tmp_path, kafka_address(), postgres_dsn(), None, log__partitions=1) as made:
        made.choose(connect__connector=f"{made.prefix}landing", connect__stall_s=NEVER_S)
        yield made


def test_an_offset_that_is_missing_before_others_is_read_from_the_log(installed: Cluster) -> None:
    with installed.library() as system:
        append(system, Stream(1), 300)
        _land(system, lambda offset: offset % 50 not in (0, 7, 8))
        _commits(system, 300)
        system.admin.worker("landing", until_end=True).run()
        check_table_and_journal(system)


def test_the_last_offsets_are_waited_for_until_connect_has_passed_them(installed: Cluster) -> None:
    with installed.library() as system:
        append(system, Stream(2), 100)
        _land(system, lambda offset: offset < 90)
        worker = system.admin.worker("landing")
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            _wait_for(worker.status.positions, 90)
            _commits(system, 95)
            _wait_for(worker.status.positions, 95)
            _land(system, lambda offset: offset >= 95)
            wait_until_kv_is_at_the_end(system)
        finally:
            worker.stop.set()
            thread.join()
        check_table_and_journal(system)


def test_where_nothing_lands_any_more_the_log_is_read(installed: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    installed.choose(connect__stall_s=1.0)
    with installed.library() as system:
        append(system, Stream(3), 2000)
        system.admin.worker("landing", until_end=True).run()
        check_table_and_journal(system)
    assert [text for text in caplog.messages if "soma connect status" in text]


def test_what_lands_after_it_was_applied_is_cleared_and_changes_nothing(installed: Cluster) -> None:
    with installed.library() as system:
        append(system, Stream(4), 100)
        system.admin.worker("kv", until_end=True).run()
        _land(system, lambda offset: True)
        append(system, Stream(5), 100)
        _land(system, lambda offset: offset >= 100)
        system.admin.worker("landing", until_end=True).run()
        check_table_and_journal(system)
        with psycopg.connect(system.settings.store.dsn or "") as connection:
            assert connection.execute("SELECT count(*) FROM memory_landing").fetchone() == (0,)


def _land(system: MemorySystem, lands: Callable[[int], bool]) -> None:
    topic_id = system.adapters.log.topic_id(EVENTS_TOPIC)
    rows = [_row(system, record, topic_id) for record in records_of(system, EVENTS_TOPIC)[0] if lands(record.offset)]
    with psycopg.connect(system.settings.store.dsn or "") as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO memory_landing VALUES (%s, %s, %s, %s, to_timestamp(%s / 1000.0), %s, %s) "
            "ON CONFLICT DO NOTHING",
            rows,
        )


def _row(system: MemorySystem, record: Record, topic_id: str) -> tuple[object, ...]:
    topic = system.settings.log.topic_prefix + EVENTS_TOPIC
    return (topic, record.partition, record.offset, topic_id, record.appended_at // 1000, record.key, record.value)


def _commits(system: MemorySystem, offset: int) -> None:
    """As Connect's consumer would."""
    settings = system.settings
    consumer = Consumer({
        "bootstrap.servers": settings.log.bootstrap_servers,
        "group.id": f"connect-{settings.connect.connector}",
        "enable.auto.commit": False,
    })  # fmt: skip
    topic = settings.log.topic_prefix + EVENTS_TOPIC
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def _wait_for(positions: dict[int, int], offset: int) -> None:
    wait_until(lambda: positions.get(0, 0) >= offset, f"the worker at {offset}")
    assert positions[0] == offset
