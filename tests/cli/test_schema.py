"""`soma schema list` and `soma schema show`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.schema_folder import PERSON, ROOT, WITH_EMAIL, folder_of, soma, write

SCHEMAS = ROOT / "schemas"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that has no schemas of its own."""
    monkeypatch.chdir(tmp_path)


def test_the_checker_is_not_loaded_before_it_is_needed() -> None:
    code = "import soma_cli.main, sys; print([name for name in sys.modules if 'compatibility' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_list_names_every_schema_that_ships_with_soma() -> None:
    rows = json.loads(soma("schema", "list", "-o", "json").stdout)
    assert [row["name"] for row in rows] == sorted(path.stem for path in SCHEMAS.glob("*.json"))
    event = next(row for row in rows if row["name"] == "memory.event")
    assert event == {
        "name": "memory.event",
        "title": "memory.event",
        "draft": "http://json-schema.org/draft-07/schema#",
        "required": ["event_id", "id", "namespace", "type", "timestamp", "payload"],
        "path": str(SCHEMAS / "memory.event.json"),
        "version": 1,
        "mode": "BACKWARD",
        "change": "same",
        "problem": "",
    }
    assert "memory.event" in soma("schema", "list", "-q").stdout.splitlines()
    shown = soma("schema", "list")
    assert shown.stdout.splitlines()[0].split() == [
        "name",
        "version",
        "mode",
        "working",
        "version",
        "draft",
        "required",
    ]
    assert "ships with soma" in shown.stderr


def test_list_shows_how_working_versions_differ_from_released_ones(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "schemas", same=PERSON, changed=PERSON, deleted=PERSON)
    write(folder / "changed.json", WITH_EMAIL)
    (folder / "deleted.json").unlink()
    write(folder / "added.json", PERSON)
    write(folder / "versions/changed/mode", "FULL\n")
    write(folder / "broken.json", "{")
    rows = {row["name"]: row for row in json.loads(soma("schema", "list", "-o", "json").stdout)}
    assert {name: row["change"] for name, row in rows.items() if name != "broken"} == {
        name: name for name in ("added", "changed", "deleted", "same")
    }
    assert (rows["added"]["version"], rows["changed"]["mode"]) == (None, "FULL")
    assert "broken.json" in rows["broken"]["problem"]
    assert "no schema" in soma("schema", "list").stdout


def test_a_folder_is_asked_for_or_here_or_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = folder_of(tmp_path / "asked", one=PERSON)
    folder_of(tmp_path / "set", two=PERSON)
    assert soma("schema", "list", "-q").stdout == "memory.event\n"
    folder_of(tmp_path / "schemas", three=PERSON)
    assert soma("schema", "list", "-q").stdout == "three\n"
    monkeypatch.setenv("SOMA_REGISTRY__FOLDER", str(tmp_path / "set"))
    assert soma("schema", "list", "-q").stdout == "two\n"
    assert soma("schema", "list", "-q", "--schemas", asked).stdout == "one\n"
    missing = soma("schema", "list", "--schemas", tmp_path / "nowhere")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "nowhere is not a folder" in missing.stderr


def test_show_prints_the_file_as_it_is() -> None:
    for path in SCHEMAS.glob("*.json"):
        assert soma("schema", "show", path.stem).stdout == path.read_text(encoding="utf-8")


def test_show_prints_released_versions(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "schemas", person=PERSON)
    write(folder / "person.json", WITH_EMAIL)
    assert json.loads(soma("schema", "show", "person").stdout) == WITH_EMAIL
    assert json.loads(soma("schema", "show", "person", "--version", "1").stdout) == PERSON
    none = soma("schema", "show", "person", "--version", "2")
    assert (none.exit_code, none.stdout) == (6, "")
    assert "the versions are: 1" in none.stderr


def test_show_and_list_ask_the_registry_where_told_to(tmp_path: Path) -> None:
    """Here it is the folder's own; the servers' are asked by the same calls of the port."""
    folder = folder_of(tmp_path / "schemas", person=PERSON)
    write(folder / "versions/person/2.json", WITH_EMAIL)
    assert json.loads(soma("schema", "show", "person", "--registry").stdout) == WITH_EMAIL
    rows = json.loads(soma("schema", "list", "--registry", "-o", "json").stdout)
    assert rows == [{"subject": "person", "version": 2, "id": None, "mode": "BACKWARD"}]


def test_an_unknown_schema_exits_6_and_names_those_there_are() -> None:
    result = soma("schema", "show", "memory.evnt")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "memory.event" in result.stderr
