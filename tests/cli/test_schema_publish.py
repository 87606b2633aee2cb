"""`soma schema register`, `promote` and `mode`, on a real registry and on released files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.settings import RegistrySettings
from tests.cli.schema_folder import PERSON, WITH_EMAIL, copy_schemas, record, report, soma, write
from tests.services import registry_url
from tests.services.front import Certificates, Front, Reply

LONGER = record(name_={"type": "string", "maxLength": 10}, age={"type": "integer", "maximum": 150})
WIDER = record(name_={"type": "string"}, age={"type": "integer", "maximum": 200})
WIDEST = record(name_={"type": "string"}, age={"type": "integer"})


@pytest.fixture
def name() -> str:
    """A schema of no other test."""
    return f"person-{uuid4().hex[:12]}"


@pytest.fixture
def schemas(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one schema, and a registry in the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMA_REGISTRY__KIND", "confluent_http")
    monkeypatch.setenv("SOMA_REGISTRY__URL", registry_url())
    monkeypatch.setenv("SOMA_REGISTRY__TIMEOUT_S", "60")
    write(tmp_path / "schemas" / f"{name}.json", PERSON)
    return tmp_path / "schemas"


@pytest.fixture
def registry() -> Iterator[ConfluentRegistry]:
    registry = ConfluentRegistry(RegistrySettings(kind="confluent_http", url=registry_url(), timeout_s=60.0))
    yield registry
    registry.close()


def numbers(registry: ConfluentRegistry, subject: str) -> list[int]:
    return [one.version for one in registry.versions(subject)]


# --- register ---


def test_a_schema_is_registered_once(schemas: Path, name: str, registry: ConfluentRegistry) -> None:
    first = soma("schema", "register")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith(f"{name}: registered as version 1 of {name} (id ")
    assert "mode BACKWARD, set now: the registry asked for none" in first.stdout
    write(schemas / f"{name}.json", json.dumps(PERSON, indent=5))
    second = soma("schema", "register", name)
    assert (second.exit_code, registry.mode(name)) == (0, Mode.BACKWARD)
    assert f"{name}: already version 1 of {name}" in second.stdout
    assert numbers(registry, name) == [1]
    assert soma("schema", "register", "-q").stdout == ""


def test_a_version_that_agrees_is_added(schemas: Path, name: str, registry: ConfluentRegistry) -> None:
    soma("schema", "register")
    write(schemas / f"{name}.json", WIDER)
    (added,) = report("schema", "register")["schemas"]
    assert (added["version"], added["registered"], added["refused"]) == (2, True, False)
    assert (added["check"]["compatible"], added["registry_compatible"]) == (True, True)
    assert [json.loads(one.text) for one in registry.versions(name)] == [PERSON, WIDER]


def test_a_version_that_breaks_is_refused_with_a_witness(schemas: Path, name: str, registry: ConfluentRegistry) -> None:
    soma("schema", "register")
    write(schemas / f"{name}.json", WITH_EMAIL)
    done = soma("schema", "register")
    assert done.exit_code == 7
    assert "version 1 accepts, the new schema refuses: {" in done.stdout
    assert f"nothing was registered: {name} would break what is there" in done.stderr
    assert numbers(registry, name) == [1]
    error = json.loads(soma("schema", "register", "-o", "json").stderr)["error"]
    assert error["code"] == "schema_incompatible"


def test_of_several_schemas_none_is_registered_where_one_breaks(
    schemas: Path, name: str, registry: ConfluentRegistry
) -> None:
    soma("schema", "register")
    write(schemas / f"{name}.json", WITH_EMAIL)
    write(schemas / f"{name}-2.json", PERSON)
    found = {one["name"]: one for one in report("schema", "register")["schemas"]}
    assert (found[name]["refused"], found[f"{name}-2"]["refused"]) == (True, False)
    assert found[f"{name}-2"]["version"] is None
    assert numbers(registry, f"{name}-2") == []


def test_what_the_registry_would_let_in_is_refused_and_both_verdicts_are_shown(schemas: Path, name: str) -> None:
    """Apicurio looks at no formats."""
    soma("schema", "register")
    write(schemas / f"{name}.json", record(name_={"type": "string", "format": "uuid"}, age=PERSON["properties"]["age"]))
    done = soma("schema", "register")
    assert done.exit_code == 7
    assert "the registry itself says compatible; soma says broken by the document above" in done.stdout


def test_what_the_registry_alone_refuses_is_told_with_a_way_on(
    schemas: Path, name: str, registry: ConfluentRegistry
) -> None:
    """To Apicurio, an enumeration written as `anyOf` of constants is another schema."""
    write(schemas / f"{name}.json", record(colour={"enum": ["red"]}))
    soma("schema", "register")
    write(schemas / f"{name}.json", record(colour={"anyOf": [{"const": "red"}, {"const": "blue"}]}))
    done = soma("schema", "register")
    assert done.exit_code == 7
    assert "the registry itself says incompatible; soma says compatible" in done.stdout
    assert f"the registry refuses {name}, which soma finds compatible" in done.stderr
    assert soma("schema", "mode", name, "NONE").exit_code == 0
    assert soma("schema", "register", "--mode", "BACKWARD").exit_code == 0
    assert soma("schema", "mode", name, "BACKWARD").exit_code == 0
    assert (numbers(registry, name), registry.mode(name)) == ([1, 2], Mode.BACKWARD)


def test_what_soma_was_not_asked_about_it_has_not_found(schemas: Path, name: str) -> None:
    soma("schema", "register")
    write(schemas / f"{name}.json", WITH_EMAIL)
    done = soma("schema", "register", "--mode", "NONE")
    assert done.exit_code == 7
    assert "the registry itself says incompatible; soma was asked for nothing: the mode is NONE" in done.stdout
    assert f"the registry refuses {name}, which soma was not asked about" in done.stderr


def test_a_schema_without_its_draft_gets_a_hint(schemas: Path, name: str) -> None:
    write(schemas / f"{name}.json", {"type": "object"})
    done = soma("schema", "register")
    assert done.exit_code == 5
    assert "422" in done.stderr
    assert f"{name}.json: the schema registry" in done.stderr
    assert 'add "$schema"' in done.stderr


def test_a_registry_that_is_away_is_exit_4_and_a_page_in_its_place_exit_3(
    schemas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (["register"], ["mode"], ["promote", "--from", "embedded", "--to", "cluster"])
    monkeypatch.setenv("SOMA_REGISTRY__URL", "http://127.0.0.1:1/registry")
    for command in commands:
        done = soma("schema", *command, "-o", "json")
        assert (done.exit_code, json.loads(done.stderr)["error"]["code"]) == (4, "registry_unavailable")
    with Front(registry_url()) as front:
        front.answer = lambda method, path: Reply(200, "text/html", b"<html>")
        monkeypatch.setenv("SOMA_REGISTRY__URL", front.address)
        for command in commands:
            done = soma("schema", *command, "-o", "json")
            assert (done.exit_code, json.loads(done.stderr)["error"]["code"]) == (3, "registry_misconfigured")


def test_the_event_schema_has_the_subject_of_its_topic(
    schemas: Path, registry: ConfluentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"t{uuid4().hex[:8]}."
    monkeypatch.setenv("SOMA_LOG__TOPIC_PREFIX", prefix)
    copy_schemas(schemas.parent / "own")
    (registered,) = report("schema", "register", "--schemas", "own")["schemas"]
    assert registered["subject"] == f"{prefix}memory.events-value"
    assert numbers(registry, registered["subject"]) == [1]


def test_without_a_server_versions_are_files(schemas: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_REGISTRY__KIND", "files")
    assert soma("schema", "register").exit_code == 0
    write(schemas / f"{name}.json", WIDER)
    (added,) = report("schema", "register")["schemas"]
    assert (added["version"], added["id"], added["registry_compatible"]) == (2, None, None)
    assert json.loads((schemas / "versions" / name / "2.json").read_text()) == WIDER
    write(schemas / f"{name}.json", WITH_EMAIL)
    assert soma("schema", "register").exit_code == 7
    assert not (schemas / "versions" / name / "3.json").exists()


# --- mode ---


def test_a_mode_is_set_and_shown(schemas: Path, name: str, registry: ConfluentRegistry) -> None:
    done = soma("schema", "mode", name, "FULL_TRANSITIVE")
    assert done.exit_code == 0, done.stderr
    assert registry.mode(name) == Mode.FULL_TRANSITIVE
    assert [row.split() for row in soma("schema", "mode").stdout.splitlines()] == [
        ["name", "subject", "mode"],
        [name, name, "FULL_TRANSITIVE"],
    ]
    assert soma("schema", "mode", name, "-q").stdout == "FULL_TRANSITIVE\n"
    assert soma("schema", "mode", name, "WILD").exit_code == 2


def test_a_version_is_checked_in_the_mode_of_its_subject(schemas: Path, name: str) -> None:
    soma("schema", "register")
    write(schemas / f"{name}.json", LONGER)
    assert soma("schema", "register").exit_code == 7
    soma("schema", "mode", name, "FORWARD")
    assert soma("schema", "register").exit_code == 0
    write(schemas / f"{name}.json", PERSON)
    assert "already version 1" in soma("schema", "register").stdout


# --- promote ---


@pytest.fixture
def profiles(schemas: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """staging has its versions in files, production in a registry."""
    monkeypatch.delenv("SOMA_REGISTRY__KIND")
    monkeypatch.delenv("SOMA_REGISTRY__URL")
    write(
        schemas.parent / "soma.yaml",
        json.dumps(
            {
                "profiles": {
                    "staging": {"registry": {"kind": "files"}},
                    "production": {"registry": {"kind": "confluent_http", "url": registry_url()}},
                }
            }
        ),
    )
    for schema in (PERSON, WIDER, WIDEST):
        write(schemas / f"{name}.json", schema)
        assert soma("--profile", "staging", "schema", "register").exit_code == 0


PROMOTE = ("schema", "promote", "--from", "staging", "--to", "production")


@pytest.mark.usefixtures("profiles")
def test_promotion_is_planned_and_then_copies_the_versions_in_their_order(
    name: str, registry: ConfluentRegistry
) -> None:
    plan = soma(*PROMOTE)
    assert plan.exit_code == 0, plan.stderr
    assert f"{name} (mode BACKWARD, given by soma: the registry asks for nothing)" in plan.stdout
    assert [line.split() for line in plan.stdout.splitlines() if "to be copied" in line] == [
        ["version", str(number), "is", "to", "be", "copied"] for number in (1, 2, 3)
    ]
    assert "nothing was changed; add --execute to copy" in plan.stdout
    assert numbers(registry, name) == []

    refused = soma(*PROMOTE, "--execute")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert numbers(registry, name) == []

    done = soma(*PROMOTE, "--execute", "--yes")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith("copied 3 of 3\n")
    assert [json.loads(one.text) for one in registry.versions(name)] == [PERSON, WIDER, WIDEST]
    assert registry.mode(name) == Mode.BACKWARD

    again = report(*PROMOTE, "--execute")
    assert (again["executed"], again["copied"], numbers(registry, name)) == (True, 0, [1, 2, 3])
    assert "all versions are there already" in soma(*PROMOTE).stdout
    assert soma(*PROMOTE, "--execute", "-q").stdout == ""


@pytest.mark.usefixtures("profiles")
def test_a_promotion_that_was_interrupted_goes_on_where_it_was(name: str, registry: ConfluentRegistry) -> None:
    registry.register(name, json.dumps(PERSON, indent=1))
    registry.set_mode(name, Mode.BACKWARD_TRANSITIVE)
    plan = report(*PROMOTE, "--execute", "--yes")
    assert (plan["copied"], [copy["copied"] for copy in plan["schemas"][0]["versions"]]) == (2, [False, True, True])
    assert numbers(registry, name) == [1, 2, 3]
    assert registry.mode(name) == Mode.BACKWARD_TRANSITIVE


@pytest.mark.usefixtures("profiles")
def test_all_is_checked_before_anything_is_copied(name: str, schemas: Path, registry: ConfluentRegistry) -> None:
    registry.set_mode(name, Mode.FORWARD)
    done = soma(*PROMOTE, "--execute", "--yes")
    assert done.exit_code == 7
    told = " ".join(done.stdout.split())
    assert "version 2 of schemas/versions accepts, version 1 of schemas/versions refuses" in told
    assert f"nothing was copied: {name} would break what is there" in done.stderr
    assert "a released version cannot be changed" in done.stderr
    assert numbers(registry, name) == []


@pytest.mark.usefixtures("profiles")
def test_what_the_second_registry_refuses_is_not_copied(name: str, schemas: Path, registry: ConfluentRegistry) -> None:
    """To Apicurio, a property more is a break also where nothing is said of it."""
    assert soma(*PROMOTE, "--execute", "--yes").exit_code == 0
    write(schemas / f"{name}.json", {**WIDEST, "properties": {**WIDEST["properties"], "more": {}}})
    assert soma("--profile", "staging", "schema", "register").exit_code == 0
    done = soma(*PROMOTE, "--execute", "--yes")
    assert done.exit_code == 7
    assert "the registry itself says incompatible; soma says compatible" in done.stdout
    assert f"nothing was copied: the registry refuses {name}, which soma finds compatible" in done.stderr
    assert "repeat this with --mode" in done.stderr
    soma("--profile", "production", "schema", "mode", name, "NONE")
    assert soma(*PROMOTE, "--execute", "--yes", "--mode", "BACKWARD").exit_code == 0
    assert numbers(registry, name) == [1, 2, 3, 4]


@pytest.mark.usefixtures("profiles")
def test_what_is_older_than_the_newest_that_is_there_is_passed_over(name: str, registry: ConfluentRegistry) -> None:
    """Copied now, it would be the latest, which producers and other tools go by."""
    registry.register(name, json.dumps(PERSON))
    registry.set_mode(name, Mode.BACKWARD)
    registry.register(name, json.dumps(WIDEST))
    plan = report(*PROMOTE)
    versions = plan["schemas"][0]["versions"]
    assert [(copy["becomes"], copy["there"], copy["passed_over"]) for copy in versions] == [
        (1, True, False),
        (None, False, True),
        (2, True, False),
    ]
    done = soma(*PROMOTE, "--execute", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "version 2 is passed over: a newer one is there already" in done.stdout
    assert "nothing to copy: the newest versions are there already" in done.stdout
    assert [json.loads(one.text) for one in registry.versions(name)] == [PERSON, WIDEST]


@pytest.mark.usefixtures("profiles")
def test_what_was_copied_before_the_registry_refused_is_told(
    name: str, schemas: Path, registry: ConfluentRegistry
) -> None:
    """Its verdict on a version that comes after one it has not got yet is known only then."""
    write(schemas / f"{name}.json", {**WIDEST, "properties": {**WIDEST["properties"], "more": {}}})
    assert soma("--profile", "staging", "schema", "register").exit_code == 0
    done = soma(*PROMOTE, "--execute", "--yes")
    assert done.exit_code == 7
    assert "copied before: 3 of 4" in done.stderr
    assert numbers(registry, name) == [1, 2, 3]


@pytest.mark.usefixtures("profiles")
def test_versions_that_only_the_target_has_are_told(name: str, registry: ConfluentRegistry) -> None:
    registry.register(name, json.dumps(LONGER))
    plan = report(*PROMOTE)
    (promotion,) = plan["schemas"]
    assert promotion["only_there"] == [1]
    assert [(copy["version"], copy["becomes"]) for copy in promotion["versions"]] == [(1, 2), (2, 3), (3, 4)]
    shown = soma(*PROMOTE).stdout
    assert "version 1 is to be copied as version 2" in shown
    assert "version 1 there is none of the first registry's: the numbers will differ" in shown


@pytest.mark.usefixtures("profiles")
def test_a_registry_is_not_promoted_to_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    same = soma("schema", "promote", "--from", "staging", "--to", "staging")
    assert same.exit_code == 2
    monkeypatch.setenv("SOMA_REGISTRY__KIND", "files")  # beats both profiles
    beaten = soma(*PROMOTE)
    assert beaten.exit_code == 2
    assert f"{name} of the registry" in beaten.stderr
    assert "the environment beats a profile" in beaten.stderr


@pytest.mark.usefixtures("profiles")
def test_what_is_not_there_is_not_found() -> None:
    assert soma(*PROMOTE, "no-such-schema").exit_code == 6
    assert soma("schema", "promote", "--from", "staging", "--to", "nowhere").exit_code == 3
    assert soma("schema", "promote", "--from", "production", "--to", "staging").exit_code == 6


def test_only_the_versions_that_count_have_to_be_schemas_that_soma_reads(
    schemas: Path, name: str, registry: ConfluentRegistry
) -> None:
    registry.register(name, '{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1}')
    registry.set_mode(name, Mode.NONE)
    registry.register(name, json.dumps(PERSON))
    registry.set_mode(name, Mode.BACKWARD)
    write(schemas / f"{name}.json", WIDER)
    (added,) = report("schema", "register")["schemas"]
    assert added["version"] == 3
    registry.set_mode(name, Mode.BACKWARD_TRANSITIVE)
    write(schemas / f"{name}.json", WIDEST)
    done = soma("schema", "register")
    assert (done.exit_code, f"{name} version 1: " in done.stderr) == (5, True)


def test_over_tls_with_a_password_from_the_environment(
    schemas: Path, name: str, registry: ConfluentRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(tmp_path / "certificates")
    with Front(registry_url(), users={"ada": "s3cret"}, tls=certificates.serving(ask_client=True)) as front:
        files = {"CA": certificates.authority, "CERT": certificates.client, "KEY": certificates.client_key}
        for part, path in files.items():
            monkeypatch.setenv(f"SOMA_REGISTRY__{part}_FILE", str(path))
        monkeypatch.setenv("SOMA_REGISTRY__URL", front.address)
        monkeypatch.setenv("SOMA_REGISTRY__USERNAME", "ada")
        monkeypatch.setenv("SOMA_REGISTRY__PASSWORD", "s3cret")
        done = soma("schema", "register")
        assert done.exit_code == 0, done.stderr
        monkeypatch.setenv("SOMA_REGISTRY__PASSWORD", "wrong")
        refused = soma("schema", "mode")
        assert (refused.exit_code, "registry.password" in refused.stderr) == (3, True)
    assert numbers(registry, name) == [1]
