"""What `doctor` says before `soma init`, and of what it cannot look at because a server is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import Installation, closed_port
from tests.services import kafka_address, postgres_dsn

NOTHING: dict[str, str] = {}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Installation]:
    soma = Installation(tmp_path, kafka_address(), postgres_dsn())
    yield soma
    soma.kill_all()


def told(soma: Installation, env: dict[str, str] = NOTHING) -> dict[str, tuple[str, str, str]]:
    """Status, message and hint of every check that is not ok."""
    done = soma.inline("doctor", "-o", "json", env=env)
    assert done.returncode == 7
    findings = json.loads(done.stdout)["findings"]
    return {
        item["check"]: (item["status"], item["message"], item["hint"]) for item in findings if item["status"] != "ok"
    }


def test_before_init_there_is_one_thing_to_do(fresh: Installation) -> None:
    found = told(fresh)
    assert list(found) == ["init"]
    status, message, hint = found["init"]
    assert (status, hint) == ("error", "run `soma init`")
    assert "none of soma's topics" in message
    assert "the tables of soma in PostgreSQL" in message


def test_what_is_not_checked_is_listed(cluster: Installation) -> None:
    with closed_port() as port:
        found = told(cluster, {"SOMA_STORE__DSN": f"postgresql://x@127.0.0.1:{port}/x"})
        assert found["store server"][0] == "error"
        for check in ("points", "identity", "kv", "vector", "audit", "latest"):
            assert found[check][:2] == ("warning", "not checked: the store (PostgreSQL) is away"), check
        assert not {"clock", "dead letters", "model"} & set(found)
        both = {"SOMA_LOG__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "SOMA_LOG__TIMEOUT_S": "1"}
        found = told(cluster, {"SOMA_STORE__DSN": f"postgresql://x@127.0.0.1:{port}/x", **both})
        assert found["clock"][1] == "not checked: the log (Kafka) is away"
        assert found["kv"][1] == "not checked: the log (Kafka) and the store (PostgreSQL) are away"
