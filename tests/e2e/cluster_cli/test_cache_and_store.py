"""A cache that is away, wrong or full only makes reads slower; a broker that stops in the middle of a store leaves the
outcome unknown, and the same key settles it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import SECRET, Installation, closed_port, error_of, hurried, silent_listener
from tests.services import KafkaCluster, RedisServer, postgres_dsn


def test_reads_without_their_cache(cluster: Installation) -> None:
    id = json.loads(cluster.inline("store", "--text", "x", "-o", "json").stdout)["id"]
    with RedisServer(password="right") as locked, closed_port() as closed, silent_listener() as silent:
        urls = [
            f"redis://:{SECRET}@127.0.0.1:{closed}/0",
            f"redis://:{SECRET}@127.0.0.1:{silent}/0",
            f"redis://:{SECRET}@127.0.0.1:{locked.port}/0",
        ]
        for number, url in enumerate(urls):
            cached = {"SOMA_CACHE__KIND": "redis", "SOMA_CACHE__URL": url}
            worked = cluster.inline("consume", "kv", "--until-end", env=cached)
            assert worked.returncode == 0, worked.stderr
            for fresh in ([], ["--fresh"]):
                began = time.monotonic()
                done = cluster.inline("get", id, *fresh, "-o", "json", env=cached)
                assert time.monotonic() - began < 10
                assert (done.returncode, json.loads(done.stdout)["id"]) == (0, id), number
                assert len(done.stderr.splitlines()) <= 1
                assert SECRET not in done.stderr + worked.stderr
            looked = cluster.inline("doctor", env=cached)
            assert looked.returncode == 7
            assert "cache." in looked.stdout, looked.stdout
            assert SECRET not in looked.stdout


def test_a_cache_without_memory_left(cluster: Installation) -> None:
    with RedisServer(settings={"maxmemory": "1", "maxmemory-policy": "noeviction"}) as full:
        cached = {"SOMA_CACHE__KIND": "redis", "SOMA_CACHE__URL": full.address}
        id = json.loads(cluster.inline("store", "--text", "x", "-o", "json").stdout)["id"]
        worked = cluster.inline("consume", "kv", "--until-end", env=cached)
        assert worked.returncode == 0, worked.stderr
        done = cluster.inline("get", id, env=cached)
        assert done.returncode == 0, done.stderr


def test_a_broker_that_stops_in_the_middle_of_a_store(tmp_path: Path) -> None:
    """Paused once the topic was looked up: the error carries the ids, and the same key settles it."""
    from soma_cli.core.adapters.event_log.kafka_producer import KafkaAppender

    with KafkaCluster(settings={"broker.session.timeout.ms": "60000"}) as kafka:
        soma = Installation(tmp_path, kafka.address, postgres_dsn())
        assert soma.inline("init").returncode == 0
        send = KafkaAppender._send
        with pytest.MonkeyPatch.context() as patch:

            def paused_first(*arguments: object) -> int:
                kafka.pause()
                return send(*arguments)  # type: ignore[arg-type]

            patch.setattr(KafkaAppender, "_send", paused_first)
            began = time.monotonic()
            arguments = ["store", "--text", "x", "--idempotency-key", "k1", "-o", "json"]
            done = soma.inline(*arguments, env={"SOMA_LOG__TIMEOUT_S": "5"})
        assert time.monotonic() - began < 40
        kafka.resume()
        error = error_of(done)
        assert (done.returncode, error["code"], error["details"]["uncertain"]) == (4, "unavailable", True)
        assert "the outcome is unknown" in error["message"]
        assert "--idempotency-key" in error["hint"], error
        again = soma.json(*arguments[:-2])
        assert (again["id"], again["event_id"]) == (error["details"]["id"], error["details"]["event_id"])
        assert soma.inline("consume", "kv", "--until-end").returncode == 0
        outcomes = [row["outcome"] for row in soma.json("history", again["id"])]
        assert outcomes[0] == "applied"
        assert set(outcomes[1:]) <= {"duplicate"}


def test_a_worker_waits_for_servers_that_are_away_when_it_starts(cluster: Installation) -> None:
    with closed_port() as kafka, silent_listener() as postgres:
        no_broker = hurried({"SOMA_LOG__BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka}"})
        no_store = hurried({"SOMA_STORE__DSN": f"postgresql://a:{SECRET}@127.0.0.1:{postgres}/x"})
        runs = [cluster.start("consume", "audit", **no_broker), cluster.start("consume", "all", **no_store)]
        for run in runs:
            run.says("next try in")
        for run in runs:
            run.signal(signal.SIGTERM)
        for run in runs:
            assert run.wait(10) == 0, run.stderr
            assert "Traceback" not in run.stderr
            assert SECRET not in run.stderr
            assert all(line.startswith("soma: ") for line in run.stderr.splitlines()), run.stderr
