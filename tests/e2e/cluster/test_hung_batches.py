"""Workers whose batch hangs while their group, or the broker, goes on."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg

from soma_cli.core.system import MemorySystem
from tests.e2e.cluster.end_state import check_everything
from tests.e2e.cluster.installation import (
    Cluster,
    committed,
    wait_until_it_moves,
    wait_until_kv_is_at_the_end,
    wait_until_the_group_is_at_the_end,
)
from tests.e2e.cluster.load import Load, Stream, append
from tests.e2e.conftest import wait_until
from tests.services import KafkaCluster, postgres_dsn

SESSION_S = 6.0
ROUNDS = 2

# As `soma`, but thrown out of its group after a few seconds without a poll instead of five minutes.
IMPATIENT_GROUP = f"""
import sys
from soma_cli.core.adapters.event_log import kafka_consumer
kafka_consumer._POLL_INTERVAL_MS = {int(SESSION_S * 1000)}
from soma_cli.__main__ import main
sys.argv[0] = "soma"
main()
"""


def test_a_worker_that_polls_while_its_batch_hangs_stays_in_the_group(cluster: Cluster) -> None:
    cluster.choose(log__session_timeout_s=SESSION_S, store__timeout_s=60.0)
    with cluster.library() as system:
        stream = Stream(8)
        worker = cluster.start_script(IMPATIENT_GROUP, "consume", "kv")
        append(system, stream, 500)
        wait_until_kv_is_at_the_end(system, worker)
        with _positions_locked(system) as lock:
            append(system, stream, 1000)
            _wait_for_the_batch(lock, 1)
            hangs_until = time.monotonic() + 2.5 * SESSION_S
            while time.monotonic() < hangs_until:
                assert system.adapters.log.members(cluster.group("kv")) == 1
                time.sleep(0.2)
        wait_until_kv_is_at_the_end(system, worker)
        assert worker.terminated() == 0, worker.stderr
        assert "redelivered" not in worker.stdout
        cluster.run_to_end()
        check_everything(system)


def test_partitions_that_go_to_another_worker_while_a_batch_hangs_are_passed_once(cluster: Cluster) -> None:
    cluster.choose(log__session_timeout_s=SESSION_S, store__timeout_s=60.0)
    with cluster.library() as system:
        stream = Stream(9)
        first = cluster.start_script(IMPATIENT_GROUP, "consume", "kv")
        append(system, stream, 500)
        wait_until_kv_is_at_the_end(system, first)
        with _positions_locked(system) as lock:
            append(system, stream, 1000)
            _wait_for_the_batch(lock, 1)
            second = cluster.start_script(IMPATIENT_GROUP, "consume", "kv")
            # It has got partitions of the first, and its own batch of them hangs, too.
            _wait_for_the_batch(lock, 2)
        append(system, stream, 1000)
        wait_until_kv_is_at_the_end(system, first)
        for worker in (first, second):
            assert worker.terminated() == 0, worker.stderr
        cluster.run_to_end()
        check_everything(system)


def test_a_publish_that_hangs_while_the_broker_is_paused_is_done_once(tmp_path: Path) -> None:
    with (
        KafkaCluster() as kafka,
        Cluster(tmp_path, kafka.address, postgres_dsn(), log__session_timeout_s=SESSION_S) as cluster,
        cluster.library(log__timeout_s=30.0) as system,
    ):
        cluster.choose(log__timeout_s=4.0)
        workers = [cluster.consume(name) for name in ("audit", "audit", "kv", "latest")]
        with Load(system, Stream(10), 400) as load:
            for _ in range(ROUNDS):
                for name in ("audit", "latest"):
                    wait_until_it_moves(system, cluster.group(name), committed(system, cluster.group(name)))
                kafka.pause()
                # Longer than a publish may take, so that its outcome is open.
                time.sleep(2.0 * SESSION_S)
                kafka.resume()
        assert load.appended > 500
        for name in ("audit", "latest"):
            wait_until_the_group_is_at_the_end(system, cluster.group(name))
        for worker in workers:
            assert worker.terminated() == 0, worker.stderr
        cluster.run_to_end()
        check_everything(system)


class _positions_locked:
    """kv's positions can't be written while this block runs."""

    def __init__(self, system: MemorySystem) -> None:
        self._connection = psycopg.connect(system.settings.store.dsn or "")

    def __enter__(self) -> psycopg.Connection:
        self._connection.execute("LOCK TABLE positions IN EXCLUSIVE MODE")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


def _wait_for_the_batch(lock: psycopg.Connection, workers: int) -> None:
    """So many transactions wait for the lock."""
    waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND relation = 'positions'::regclass"

    def hang() -> bool:
        row = lock.execute(waiting).fetchone()
        return row is not None and row[0] >= workers

    wait_until(hang, f"{workers} batches that hang")
