"""kill -9 of Connect, of the landing worker and of PostgreSQL, again and again: nothing is lost or applied twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soma_cli.core.memory import Outcome
from tests.e2e.cluster.end_state import check_dead_letters, check_table_and_journal
from tests.e2e.cluster.load import Load, Stream
from tests.e2e.cluster_connect.installation import Landed
from tests.e2e.cluster_connect.same_as_kv import check_same_as_kv
from tests.e2e.conftest import Running, wait_until
from tests.services import ConnectServer, PostgresServer, kafka_address, new_database

EVENTS = int(os.environ.get("SOMA_TEST_STORM_EVENTS", "4000"))
ROUNDS = int(os.environ.get("SOMA_TEST_STORM_ROUNDS", "2"))
RATE = 150.0
SEED = int(os.environ.get("SOMA_TEST_STORM_SEED", "20260101"))
NOT_IN_THIS_TEST_S = 3600.0
"""Nothing is read from the log because Connect is away: what is there at the end has landed."""


@pytest.fixture
def connect() -> Iterator[ConnectServer]:
    with ConnectServer(kafka_address()) as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def test_killed_at_random_moments_they_end_with_the_table_of_kv(
    tmp_path: Path, connect: ConnectServer, postgres: PostgresServer
) -> None:
    rng, dsn = random.Random(SEED), new_database(postgres.address)
    with Landed(tmp_path, kafka_address(), dsn, connect.address, connect__stall_s=NOT_IN_THIS_TEST_S) as landed:
        landed.apply()
        with landed.library() as system:
            worker = landed.start("consume", "landing")
            with Load(system, Stream(SEED), RATE, EVENTS) as load:
                for _ in range(ROUNDS):
                    for killed in rng.sample([_kill_connect, _kill_worker, _kill_postgres, _stop_connect], 4):
                        load.wait_for(_after(rng.uniform(0.5, 3.0)))
                        worker = killed(landed, worker, connect, postgres)
            worker.kill()
            wait_until(lambda: _runs(landed), "a connector that runs")
            landed.run_to_end("landing")
            fold = check_table_and_journal(system)
            check_dead_letters(system, fold)
        assert sum(fold.outcomes().values()) == EVENTS
        assert all(fold.outcomes()[outcome] for outcome in Outcome), fold.outcomes()
        assert check_same_as_kv(landed)["journal"] == EVENTS


def _runs(landed: Landed) -> bool:
    """A task that lost PostgreSQL in the middle of its start has failed for good, until somebody starts it again."""
    if landed.run("connect", "status").returncode == 0:
        return True
    landed.run("connect", "apply")
    return False


def _kill_connect(landed: Landed, worker: Running, connect: ConnectServer, postgres: PostgresServer) -> Running:
    connect.kill()
    connect.start()
    return worker


def _stop_connect(landed: Landed, worker: Running, connect: ConnectServer, postgres: PostgresServer) -> Running:
    connect.stop()
    connect.start()
    return worker


def _kill_worker(landed: Landed, worker: Running, connect: ConnectServer, postgres: PostgresServer) -> Running:
    worker.signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL, worker.stderr
    return landed.start("consume", "landing")


def _kill_postgres(landed: Landed, worker: Running, connect: ConnectServer, postgres: PostgresServer) -> Running:
    postgres.kill()
    time.sleep(1.0)  # both meet a server that is away, not only a connection that broke
    postgres.start()
    return worker


def _after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() > deadline
