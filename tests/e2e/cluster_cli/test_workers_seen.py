"""What `lag`, `doctor` and the health endpoint say of workers that run, stop, or lose a server."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.e2e.cluster_cli.faults import Installation
from tests.e2e.conftest import Running, groups_of_lag, wait_until
from tests.services import PostgresServer, kafka_address, new_database

GROUPS = ("kv", "vector", "audit", "latest")


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(durable=False) as server:
        yield server


@pytest.fixture
def soma(tmp_path: Path, postgres: PostgresServer) -> Iterator[Installation]:
    made = Installation(tmp_path, kafka_address(), new_database(postgres.address))
    assert made.inline("init").returncode == 0
    yield made
    made.kill_all()


def groups(soma: Installation, *options: str) -> dict[str, Any]:
    report = json.loads(soma.inline("lag", *options, "-o", "json").stdout)
    return {group["group"].rpartition("-")[2]: group for group in report["groups"]}


def page(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def address(worker: Running) -> str:
    """Where the worker said that it serves metrics."""
    worker.says("metrics and health at ")
    found = re.search(r"http://[\d.]+:\d+", worker.stderr)
    assert found is not None, worker.stderr
    return found[0]


def test_states_lag_and_health_of_workers(soma: Installation, postgres: PostgresServer) -> None:
    lines = b"".join(json.dumps({"payload": {"text": f"memory {n}"}}).encode() + b"\n" for n in range(200))
    assert soma.inline("produce", "-", stdin=lines).returncode == 0
    seen = groups(soma)
    assert {name: (seen[name]["state"], seen[name]["lag"]) for name in GROUPS} == dict.fromkeys(
        GROUPS, ("stopped", 200)
    )
    assert all(seen[name]["oldest_age_s"] > 0 for name in GROUPS)
    breached = soma.inline("lag", "--threshold", "100", "--max-age", "1d", "-o", "json")
    assert (breached.returncode, json.loads(breached.stdout)["breaches"][0]["limit"]) == (7, 100)
    assert soma.inline("lag", "--max-age", "0s").returncode == 7
    assert soma.inline("lag", "--threshold", "200", "--max-age", "1d").returncode == 0
    looked = soma.inline("doctor")
    assert looked.returncode == 7
    assert all(f"start `soma consume {name}`" in looked.stdout for name in GROUPS)

    worker = soma.start("consume", "all", "--metrics-port", "0", "--log-format", "json", SOMA_STORE__TIMEOUT_S="2")
    url = address(worker)
    wait_until(lambda: {group["lag"] for group in groups_of_lag(soma)} == {0}, "nothing behind", worker.process)
    wait_until(
        lambda: any(one["rate_per_s"] is not None for one in groups_of_lag(soma) if one["group"].endswith("-kv")),
        "a rate",
        worker.process,
    )
    assert {group["state"] for group in groups(soma).values()} == {"active"}
    watched = soma.inline("lag", "--watch", "--count", "3", "--interval", "0.1s")
    assert (watched.returncode, len(watched.stdout.splitlines())) == (0, 3)
    assert watched.stdout.count("kv active, lag 0") == 3
    healthy = soma.inline("doctor")
    assert healthy.returncode == 0, healthy.stdout

    assert page(f"{url}/healthz")[0] == 200
    assert page(f"{url}/readyz")[0] == 200
    metrics = page(f"{url}/metrics")[1]
    assert re.search(r'^soma_\w+\{[^}]*outcome="applied"[^}]*\} 200(\.0)?$', metrics, re.MULTILINE), metrics
    if promtool := shutil.which("promtool"):
        checked = subprocess.run([promtool, "check", "metrics"], input=metrics.encode(), capture_output=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    postgres.stop()
    wait_until(lambda: page(f"{url}/readyz")[0] == 503, "not ready", worker.process)
    assert "PostgreSQL" in page(f"{url}/readyz")[1] or "store" in page(f"{url}/readyz")[1]
    postgres.start()
    wait_until(lambda: page(f"{url}/readyz")[0] == 200, "ready again", worker.process)
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0, worker.stderr
    assert {group["state"] for group in groups(soma).values()} == {"idle"}
    assert all(json.loads(line)["message"] for line in worker.stderr.splitlines())
