"""`soma init` and `soma doctor` with a schema registry: a real one, which may be away, or lack what should be there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.schemas import schema_text
from soma_cli.core.settings import RegistrySettings
from tests.e2e.cluster_cli.faults import Installation, error_of
from tests.services import kafka_address, postgres_dsn, registry_url


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Installation]:
    """With a registry in its settings, before `soma init`."""
    soma = Installation(tmp_path, kafka_address(), postgres_dsn())
    soma.settings |= {
        "SOMA_REGISTRY__KIND": "confluent_http",
        "SOMA_REGISTRY__URL": registry_url(),
        "SOMA_REGISTRY__TIMEOUT_S": "60",
    }
    yield soma
    soma.kill_all()


@pytest.fixture
def registry() -> Iterator[ConfluentRegistry]:
    registry = ConfluentRegistry(RegistrySettings(kind="confluent_http", url=registry_url(), timeout_s=60.0))
    yield registry
    registry.close()


def subject(soma: Installation) -> str:
    return f"{soma.prefix}memory.events-value"


def found_by_doctor(soma: Installation, **env: str) -> list[dict[str, str]]:
    findings = json.loads(soma.inline("doctor", "-o", "json", env=env).stdout)["findings"]
    return [finding for finding in findings if finding["check"] == "registry"]


def test_init_registers_the_schema_of_events_once(cluster: Installation, registry: ConfluentRegistry) -> None:
    name = f"schema {subject(cluster)}"
    first = json.loads(cluster.inline("init", "-o", "json").stdout)
    assert name in first["created"]
    again = json.loads(cluster.inline("init", "-o", "json").stdout)
    assert (again["created"], name in again["existing"]) == ([], True)
    (version,) = registry.versions(subject(cluster))
    assert version.text == schema_text("memory.event")
    assert registry.mode(subject(cluster)) == Mode.BACKWARD
    (finding,) = found_by_doctor(cluster)
    assert finding["status"] == "ok"
    assert f"version 1 of {subject(cluster)} is soma's own; mode BACKWARD" in finding["message"]


def test_init_leaves_what_is_there_and_tells_what_differs(cluster: Installation, registry: ConfluentRegistry) -> None:
    other = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'
    registry.register(subject(cluster), other)
    done = cluster.inline("init", "-o", "json")
    assert (done.returncode, error_of(done)["code"]) == (7, "differs")
    assert [one.text for one in registry.versions(subject(cluster))] == [other]
    differs, unguarded = found_by_doctor(cluster)
    assert "none of the 1 versions" in differs["message"]
    assert "soma schema register" in differs["hint"]
    assert "its mode is NONE" in unguarded["message"]
    assert "soma schema mode memory.event BACKWARD" in unguarded["hint"]


def test_init_makes_all_else_where_the_registry_is_away(cluster: Installation) -> None:
    done = cluster.inline("init", "-o", "json", env={"SOMA_REGISTRY__URL": "http://127.0.0.1:1"})
    assert (done.returncode, error_of(done)["code"]) == (4, "registry_unavailable")
    assert "all else is made" in error_of(done)["hint"]
    again = json.loads(cluster.inline("init", "-o", "json").stdout)
    assert again["created"] == [f"schema {subject(cluster)}"]


def test_doctor_tells_what_the_registry_lacks(cluster: Installation) -> None:
    cluster.settings["SOMA_REGISTRY__KIND"] = "files"
    assert cluster.inline("init").returncode == 0
    assert found_by_doctor(cluster) == []
    cluster.settings["SOMA_REGISTRY__KIND"] = "confluent_http"
    for validate, status in (("none", "warning"), ("latest", "error")):
        (finding,) = found_by_doctor(cluster, SOMA_REGISTRY__VALIDATE=validate)
        assert finding["status"] == status
        assert f"{subject(cluster)} is not in {registry_url()}" in finding["message"]
        assert "soma init" in finding["hint"]
    (away,) = found_by_doctor(cluster, SOMA_REGISTRY__URL="http://127.0.0.1:1")
    assert (away["status"], "registry.url" in away["hint"]) == ("error", True)
