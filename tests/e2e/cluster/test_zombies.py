"""Workers that were thought dead and are not, and workers whose batch hangs while the group goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psycopg
import pytest

from soma_cli.core.system import MemorySystem
from tests.e2e.cluster.end_state import check_everything
from tests.e2e.cluster.installation import (
    Cluster,
    wait_until_kv_is_at_the_end,
    wait_until_the_group_is_at_the_end,
)
from tests.e2e.cluster.load import Load, Stream, append
from tests.e2e.conftest import Running, wait_until
from tests.services import KafkaCluster, postgres_dsn

SESSION_S = 3.0
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


@pytest.mark.parametrize("name", ["kv", "audit", "latest"])
def test_a_worker_paused_past_its_session_and_continued_takes_nothing_back(cluster: Cluster, name: str) -> None:
    cluster.choose(log__session_timeout_s=SESSION_S)
    group = cluster.group(name)
    with cluster.library() as system:
        others = [cluster.consume("kv")] if name == "latest" else []
        first, second = cluster.consume(name), None
        with Load(system, Stream(7), 400) as load:
            for _ in range(ROUNDS):
                before = _committed(system, group)
                _wait_until_it_moves(system, group, before)
                first.signal(signal.SIGSTOP)
                if second is None:
                    second = cluster.consume(name)
                _wait_until_all_move(system, group, second)
                first.signal(signal.SIGCONT)
                wait_until(lambda: system.adapters.log.members(group) == 2, "both in the group", first.process)
                first, second = second, first
        wait_until_the_group_is_at_the_end(system, group)
        assert load.appended > 1000
        for worker in (first, second, *others):
            assert worker is not None
            assert worker.terminated() == 0, worker.stderr
        cluster.run_to_end()
        check_everything(system)


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
        Cluster(
            tmp_path, kafka.address, postgres_dsn(), log__session_timeout_s=SESSION_S, log__timeout_s=4.0
        ) as cluster,
        cluster.library(log__timeout_s=30.0) as system,
    ):
        workers = [cluster.consume(name) for name in ("audit", "audit", "kv", "latest")]
        with Load(system, Stream(10), 400) as load:
            for _ in range(ROUNDS):
                for name in ("audit", "latest"):
                    _wait_until_it_moves(system, cluster.group(name), _committed(system, cluster.group(name)))
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


def _committed(system: MemorySystem, group: str) -> dict[int, int]:
    return {number: item.offset for number, item in system.adapters.log.committed(group, "memory.events").items()}


def _wait_until_it_moves(system: MemorySystem, group: str, before: dict[int, int]) -> None:
    wait_until(lambda: _committed(system, group) != before, f"{group} at work")


def _wait_until_all_move(system: MemorySystem, group: str, worker: Running) -> None:
    """The worker has all partitions: each moves on from where it was a moment after the other was paused."""
    before = _committed(system, group)

    def all_moved() -> bool:
        now = _committed(system, group)
        return len(now) == 4 and all(offset > before.get(number, -1) for number, offset in now.items())

    wait_until(all_moved, f"{group} at work in all partitions", worker.process)


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


@pytest.mark.parametrize("name", ["kv", "audit"])
def test_of_two_workers_of_one_instance_id_the_older_ends_and_says_why(cluster: Cluster, name: str) -> None:
    with cluster.library() as system:
        stream = Stream(13)
        append(system, stream, 500)
        older = cluster.consume(name, "--instance-id", "one")
        wait_until_the_group_is_at_the_end(system, cluster.group(name), older)
        newer = cluster.consume(name, "--instance-id", "one")
        append(system, stream, 500)
        assert older.wait() == 3, older.stderr
        assert "instance id `one`" in older.stderr
        wait_until_the_group_is_at_the_end(system, cluster.group(name), newer)
        assert newer.terminated() == 0, newer.stderr
        cluster.run_to_end()
        check_everything(system)
