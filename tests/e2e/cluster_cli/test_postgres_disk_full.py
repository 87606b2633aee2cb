"""PostgreSQL on a disk that is really full: commands say so, kv waits for room, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e.cluster_cli.faults import Installation, error_of
from tests.e2e.conftest import Running, wait_until
from tests.services import PostgresServer, kafka_address, new_database
from tests.services.processes import is_running

EVENTS, EVENT_BYTES = 3000, 8000
LEFT_BYTES = 6 << 20
"""Of room, when the load begins: it wants four times as much."""


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(settings={"max_wal_size": "32MB", "min_wal_size": "32MB"})
    disk = server.data.parent
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=0755", "tmpfs", disk]).returncode
    ):
        pytest.skip("a file system can't be mounted here")
    try:
        with server:
            yield server
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - LEFT_BYTES))
    return ballast


def is_caught_up(soma: Installation, postgres: PostgresServer) -> bool:
    """Where the write-ahead log found no room, the server ends, maybe a while later; somebody starts it again."""
    if postgres.process.pid is None or not is_running(postgres.process.pid):
        postgres.start()
    looked = soma.inline("lag", "-o", "json")
    return looked.returncode == 0 and json.loads(looked.stdout)["groups"][0]["lag"] == 0


def waits_for_room(worker: Running) -> bool:
    return "retrying" in worker.stderr and ("no space left" in worker.stderr or "cannot be reached" in worker.stderr)


def test_kv_waits_for_room(tmp_path: Path, postgres: PostgresServer) -> None:
    dsn = new_database(postgres.address)
    soma = Installation(tmp_path, kafka_address(), dsn)
    assert soma.inline("init").returncode == 0
    ballast = fill(postgres.data.parent)
    worker = soma.start("consume", "kv")
    lines = [json.dumps({"payload": {"text": os.urandom(EVENT_BYTES // 2).hex()}}) for _ in range(EVENTS)]
    assert soma.inline("produce", "-", stdin="\n".join(lines).encode()).returncode == 0
    wait_until(lambda: waits_for_room(worker), "a worker that waits for room", worker.process)

    refused = soma.inline("init", "-o", "json")
    if refused.returncode:
        assert refused.returncode == 4, refused.stderr
        assert "PostgreSQL" in error_of(refused)["message"]
    assert soma.inline("store", "--text", "meanwhile").returncode == 0, "writing needs the log alone"

    ballast.unlink()
    wait_until(lambda: is_caught_up(soma, postgres), "kv at the end", worker.process)
    assert worker.terminated() == 0, worker.stderr
    with psycopg.connect(dsn) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM memories), (SELECT count(*) FROM memory_events)"
        ).fetchone()
    assert counted == (EVENTS + 1, EVENTS + 1)
    assert json.loads(soma.inline("dlq", "list", "-o", "json").stdout) == []
    soma.kill_all()
