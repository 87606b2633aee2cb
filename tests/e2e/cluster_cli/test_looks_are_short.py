"""`lag` and `doctor` are what an operator runs when something is wrong: servers that are away hold them up for seconds
only, and Ctrl-C ends them at once."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import Installation, silent_listener
from tests.e2e.conftest import wait_until
from tests.services import KafkaCluster, PostgresServer, new_database

AT_MOST_S = 30.0
"""Looks that were not short would take a minute, as is set here."""
ENDS_WITHIN_S = 2.0
BUSY_S = 8.0
"""What a busy machine may add until a process is gone. One that was not interrupted has another exit code."""


@pytest.fixture
def patient_looks() -> None:
    """They are as short as a user has them."""


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(durable=False) as server:
        yield server


@pytest.fixture
def soma(tmp_path: Path, kafka: KafkaCluster, postgres: PostgresServer) -> Iterator[Installation]:
    made = Installation(tmp_path, kafka.address, new_database(postgres.address))
    made.settings |= {"SOMA_LOG__TIMEOUT_S": "60", "SOMA_STORE__TIMEOUT_S": "60"}
    # A broker that was paused for long comes back to a controller that had given it up.
    wait_until(lambda: made.inline("init").returncode == 0, "a broker that takes topics")
    yield made
    made.kill_all()


def away(kafka: KafkaCluster, postgres: PostgresServer, what: str) -> Callable[[], None]:
    """Take servers away; call what is returned to have them back."""
    servers = {"broker": [kafka], "store": [postgres], "both": [kafka, postgres]}[what]
    for server in servers:
        server.pause()
    return lambda: [server.resume() for server in servers].clear()


@pytest.mark.parametrize("what", ["broker", "store", "both"])
def test_servers_that_do_not_answer(
    soma: Installation, kafka: KafkaCluster, postgres: PostgresServer, what: str
) -> None:
    import qdrant_client  # noqa: F401 - to load a module takes a busy machine seconds

    for command in ("lag", "doctor"):
        soma.inline(command)
    back = away(kafka, postgres, what)
    try:
        with silent_listener() as port:
            others = {
                "SOMA_CACHE__KIND": "redis",
                "SOMA_CACHE__URL": f"redis://127.0.0.1:{port}",
                "SOMA_INDEX__KIND": "qdrant",
                "SOMA_INDEX__URL": f"http://127.0.0.1:{port}",
            }
            for command, code in (("lag", 4), ("doctor", 7)):
                began = time.monotonic()
                done = soma.inline(command, env=others if what == "both" else None)
                took_s = time.monotonic() - began
                assert done.returncode == code, done.stderr
                assert took_s < AT_MOST_S, f"{command} took {took_s:.1f} s"
    finally:
        back()


@pytest.mark.parametrize("command", ["lag", "doctor"])
def test_ctrl_c(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        soma = Installation(tmp_path, f"127.0.0.1:{port}", f"postgresql://x@127.0.0.1:{port}/x")
        running = soma.start(command)
        connection, _ = silent.accept()
        began = time.monotonic()
        with connection:
            running.signal(signal.SIGINT)
            assert running.wait(30) == 130, running.stderr
        assert time.monotonic() - began < ENDS_WITHIN_S + BUSY_S
