"""SIGTERM ends a worker within its ten seconds, exit 0, also while a server is away."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import Installation
from tests.services import KafkaCluster, PostgresServer, kafka_address, new_database, postgres_dsn

AT_MOST_S = 10.0


def ends_in_time(soma: Installation, server: KafkaCluster, how: str) -> None:
    assert soma.inline("init").returncode == 0
    worker = soma.start("consume", "all", SOMA_LOG__TIMEOUT_S="3")
    try:
        for name in ("kv", "audit"):
            worker.says(f"{name} idle")
        getattr(server, how)()
        worker.says("next try in")
        worker.signal(signal.SIGTERM)
        began = time.monotonic()
        assert worker.wait(2 * AT_MOST_S) == 0, worker.stderr
        assert time.monotonic() - began < AT_MOST_S
        assert "Traceback" not in worker.stderr
    finally:
        soma.kill_all()


@pytest.mark.parametrize("how", ["kill"])
def test_the_broker_is_away(tmp_path: Path, how: str) -> None:
    with KafkaCluster() as kafka:
        ends_in_time(Installation(tmp_path, kafka.address, postgres_dsn()), kafka, how)


def test_postgres_is_away(tmp_path: Path) -> None:
    with PostgresServer(durable=False) as postgres:
        soma = Installation(tmp_path, kafka_address(), new_database(postgres.address))
        assert soma.inline("init").returncode == 0
        worker = soma.start("consume", "all")
        try:
            worker.says("kv idle")
            postgres.stop()
            assert soma.inline("store", "--text", "x").returncode == 0
            worker.says("next try in")
            began = time.monotonic()
            assert worker.terminated() == 0, worker.stderr
            assert time.monotonic() - began < AT_MOST_S
        finally:
            soma.kill_all()
