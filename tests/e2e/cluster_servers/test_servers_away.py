"""Servers that go away in the middle of load: nothing is lost, nothing counts twice, nobody is restarted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.memory import Outcome
from tests.e2e.cluster_servers.load import Producing, keyed_lines, lines
from tests.e2e.cluster_servers.projections import PATIENT, ClusterSoma, check_everything, passed_by_all, wait_until
from tests.e2e.conftest import Running
from tests.services import (
    KafkaCluster,
    PostgresServer,
    RedisServer,
    kafka_address,
    new_database,
    postgres_dsn,
    redis_url,
)

EVENTS = 1500
PORTION = 300
SEED = 20261127


@contextmanager
def working(soma: ClusterSoma, scratch: Path) -> Iterator[tuple[Producing, Running]]:
    """Workers and a producer at work; at the end everything is in, and is what the fold makes of it."""
    assert soma.inline("init", env=PATIENT).returncode == 0
    made = [*keyed_lines(PORTION), *lines(EVENTS - PORTION, 300, random.Random(SEED))]
    portions = [made[start : start + PORTION] for start in range(0, len(made), PORTION)]
    keyed = Producing(soma, scratch / "keyed", portions[:1], "--key", "/payload/key")
    producing = Producing(soma, scratch / "lines", portions[1:])
    worker = soma.start("consume", "all", "--log-format", "json")
    try:
        with keyed:
            pass
        with producing:
            yield producing, worker
        assert (keyed.wrong, producing.wrong) == ([], [])
        with soma.system() as system:
            passed_by_all(soma, system, worker)
            expected = check_everything(soma, system)
        assert set(_events(made)) <= {item.entry.event.event_id for item in expected.decisions if item.entry.event}
        assert expected.outcomes()[Outcome.REJECTED] == 0
        assert worker.terminated() == 0
        assert "Traceback" not in worker.stderr
    finally:
        soma.kill_all()


def _events(made: list[dict[str, object]]) -> list[str]:
    from soma_cli.core.event import event_id_for

    return [
        str(line["event_id"]) if "event_id" in line else event_id_for("load", str(line["payload"]["key"]))  # type: ignore[index]
        for line in made
    ]


def told(producing: Producing, server: str) -> None:
    """What the runs that failed said: which server, and what to do; as JSON on stderr, with a stable code."""
    for failure in producing.failures:
        error = json.loads(failure.splitlines()[-1])["error"]
        assert error["code"] == "unavailable", failure
        assert server in error["message"], failure
        assert error["hint"], failure


def at(producing: Producing, portions: int, action: Callable[[], object]) -> None:
    """Act once so many portions are in."""
    wait_until(producing.reached(portions), f"{portions} portions produced")
    action()


def test_a_broker_that_is_killed_and_one_that_is_stopped(tmp_path: Path) -> None:
    with KafkaCluster() as kafka:
        soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka.address, postgres_dsn(), redis_url())
        with working(soma, tmp_path) as (producing, worker):
            at(producing, 1, kafka.kill)
            wait_until(lambda: bool(producing.failures), "a producer that fails")
            kafka.start()
            at(producing, 3, kafka.stop)
            wait_until(lambda: '"retrying' in worker.stderr or "trying again" in worker.stderr, "a worker that retries")
            kafka.start()
        told(producing, "Kafka")


def test_a_broker_lost_for_good_and_another_restarted(tmp_path: Path) -> None:
    """Three replicas, two in sync: with one lost everything goes on, with two it waits."""
    with KafkaCluster(brokers=3) as kafka:
        soma = ClusterSoma(
            tmp_path / "data", tmp_path / "output", kafka.address, postgres_dsn(), redis_url(), replicas=3
        )
        with working(soma, tmp_path) as (producing, _):
            at(producing, 1, lambda: kafka.kill(0))
            at(producing, 3, lambda: kafka.kill(1))
            kafka.start(1)
        told(producing, "Kafka")


def test_postgres_that_is_stopped_and_killed(tmp_path: Path) -> None:
    with PostgresServer() as postgres:
        dsn = new_database(postgres.address)
        soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), dsn, redis_url())
        with working(soma, tmp_path) as (producing, worker):
            at(producing, 1, postgres.stop)
            # `produce` looks into the journal first, so somebody else has to give the workers something to do.
            with soma.system() as system:
                event = build_event(Draft({"text": "appended while the store was away"}), system.settings.limits)
                append_events(system.adapters.log, [event])
            wait_until(lambda: "PostgreSQL" in worker.stderr, "a worker that says who is away", worker)
            postgres.start()
            at(producing, 3, postgres.kill)
            wait_until(lambda: bool(producing.failures), "a producer that fails")
            postgres.start()
        told(producing, "PostgreSQL")


def test_redis_that_is_paused_killed_and_started_again(tmp_path: Path) -> None:
    with RedisServer() as redis:
        soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn(), redis.address)
        soma.settings |= PATIENT
        with working(soma, tmp_path) as (producing, _):
            at(producing, 1, redis.pause)
            at(producing, 2, redis.resume)
            at(producing, 3, redis.kill)
            at(producing, 4, redis.start)
        assert producing.failures == []


def test_an_index_that_another_process_holds(tmp_path: Path) -> None:
    """kv and the others go on meanwhile; vector comes after."""
    from filelock import FileLock

    from soma_cli.core.record import EVENTS_TOPIC

    soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn(), redis_url())
    with working(soma, tmp_path) as (producing, worker):
        wait_until(producing.reached(1), "one portion")
        with FileLock(tmp_path / "data" / "index" / "hold.lock"), soma.system() as system:
            wait_until(producing.reached(4), "all portions")
            log, store = system.adapters.log, system.adapters.store
            ends = {number: bounds.end for number, bounds in log.bounds(EVENTS_TOPIC).items()}
            wait_until(lambda: store.positions(log.topic_id(EVENTS_TOPIC)) == ends, "kv at the end", worker)
