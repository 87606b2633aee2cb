"""`soma schema check`, `diff`, `list` and `show` with a real registry."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.settings import RegistrySettings
from tests.cli.schema_folder import PERSON, WITH_EMAIL, copy_schemas, record, report, soma, write
from tests.services import registry_url

CLOSED = PERSON | {"additionalProperties": False}
WIDER = record(name_={"type": "string"}, age={"type": "integer"}) | {"additionalProperties": False}


def opened() -> ConfluentRegistry:
    """Patient: a registry that has just started takes seconds for its first schema."""
    return ConfluentRegistry(RegistrySettings(kind="confluent_http", url=registry_url(), timeout_s=60))


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A schema of no other test's, registered once as `CLOSED`, and lying in `./schemas`."""
    name = f"person-{uuid4()}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMA_REGISTRY__KIND", "confluent_http")
    monkeypatch.setenv("SOMA_REGISTRY__URL", registry_url())
    monkeypatch.setenv("SOMA_REGISTRY__TIMEOUT_S", "60")
    monkeypatch.setenv("SOMA_LOG__TOPIC_PREFIX", f"{name}.")
    registry = opened()
    registry.register(name, json.dumps(CLOSED))
    registry.set_mode(name, Mode.BACKWARD)
    registry.close()
    write(tmp_path / "schemas" / f"{name}.json", CLOSED)
    return name


def test_a_schema_is_compared_with_what_is_registered(subject: str, tmp_path: Path) -> None:
    assert soma("schema", "check", "--against", "registry").exit_code == 0
    write(tmp_path / "schemas" / f"{subject}.json", WITH_EMAIL)
    found = report("schema", "check", "--against", "registry")["subjects"][0]
    assert (found["subject"], found["mode"], found["compatible"]) == (subject, "BACKWARD", False)
    assert found["against"] == ["version 1"]
    assert {one["writer"] for one in found["violations"]} == {"version 1"}
    write(tmp_path / "schemas" / f"{subject}.json", WIDER)
    assert soma("schema", "check", "--against", "registry").exit_code == 0
    assert soma("schema", "check", "--against", "registry", "--mode", "FULL").exit_code == 7


def test_the_mode_is_the_registrys(subject: str, tmp_path: Path) -> None:
    registry = opened()
    registry.set_mode(subject, Mode.FORWARD)
    registry.close()
    write(tmp_path / "schemas" / f"{subject}.json", WIDER)
    found = report("schema", "check", "--against", "registry")["subjects"][0]
    assert (found["mode"], found["compatible"]) == ("FORWARD", False)


def test_it_is_said_where_the_registrys_own_verdict_is_another(subject: str, tmp_path: Path) -> None:
    """Apicurio looks at no formats, and takes an enumeration written as `anyOf` for another schema."""
    path = tmp_path / "schemas" / f"{subject}.json"
    age = PERSON["properties"]["age"]
    write(path, CLOSED | record(name_={"type": "string", "format": "uuid"}, age=age))
    result = soma("schema", "check", "--against", "registry")
    assert result.exit_code == 7
    assert "    the registry itself says compatible" in result.stdout
    assert "version 1 accepts, the new schema refuses: {" in result.stdout
    registry = opened()
    registry.register(f"{subject}-colour", json.dumps(record(colour={"enum": ["red"]})))
    registry.set_mode(f"{subject}-colour", Mode.BACKWARD)
    registry.close()
    colours = record(colour={"anyOf": [{"const": "red"}, {"const": "blue"}]})
    write(tmp_path / "schemas" / f"{subject}-colour.json", colours)
    result = soma("schema", "check", f"{subject}-colour", "--against", "registry")
    assert result.exit_code == 0
    assert "    the registry itself says incompatible" in result.stdout
    with_mode = soma("schema", "check", f"{subject}-colour", "--against", "registry", "--mode", "BACKWARD")
    assert "itself" not in with_mode.stdout, "the registry was asked for its own mode only"


def test_the_event_is_the_value_of_its_topic(subject: str, tmp_path: Path) -> None:
    copy_schemas(tmp_path / "more")
    found = report("schema", "check", "--against", "registry", "--schemas", "more")["subjects"][0]
    assert (found["subject"], found["change"]) == (f"{subject}.memory.events-value", "added")


def test_list_show_and_diff_ask_the_registry(subject: str, tmp_path: Path) -> None:
    rows = json.loads(soma("schema", "list", "--registry", "-o", "json").stdout)
    row = next(row for row in rows if row["subject"] == subject)
    assert (row["version"], row["mode"], type(row["id"])) == (1, "BACKWARD", int)
    assert json.loads(soma("schema", "show", subject, "--registry").stdout) == CLOSED
    assert soma("schema", "show", subject, "--registry", "--version", "2").exit_code == 6
    write(tmp_path / "schemas" / f"{subject}.json", WIDER)
    assert "- /properties/age/maximum  150 (breaks FORWARD)" in soma("schema", "diff", subject, "--registry").stdout


def test_a_registry_that_is_away_exits_4(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_REGISTRY__URL", "http://127.0.0.1:9/apis/ccompat/v7")
    for words in (["check", "--against", "registry"], ["list", "--registry"], ["diff", subject, "--registry"]):
        result = soma("schema", *words)
        assert (result.exit_code, result.stdout) == (4, ""), result.stderr
        assert "127.0.0.1:9" in result.stderr
