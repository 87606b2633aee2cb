"""`soma schema`: the shipped schemas."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from soma_cli.main import app

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def soma(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_list_names_every_schema() -> None:
    rows = json.loads(soma("schema", "list", "-o", "json").stdout)
    assert [row["name"] for row in rows] == sorted(path.stem for path in SCHEMAS.glob("*.json"))
    event = next(row for row in rows if row["name"] == "memory.event")
    assert event == {
        "name": "memory.event",
        "title": "memory.event",
        "draft": "http://json-schema.org/draft-07/schema#",
        "required": ["event_id", "id", "namespace", "type", "timestamp", "payload"],
        "path": str(SCHEMAS / "memory.event.json"),
    }
    assert "memory.event" in soma("schema", "list", "-q").stdout.splitlines()
    assert soma("schema", "list").stdout.splitlines()[0].split() == ["name", "draft", "required"]


def test_show_prints_the_file_as_it_is() -> None:
    for path in SCHEMAS.glob("*.json"):
        assert soma("schema", "show", path.stem).stdout == path.read_text(encoding="utf-8")


def test_an_unknown_schema_exits_6_and_names_those_there_are() -> None:
    result = soma("schema", "show", "memory.evnt")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "memory.event" in result.stderr


def test_help_lists_only_what_works() -> None:
    page = soma("schema", "--help").stdout
    assert "show" in page
    assert not any(word in page for word in ("check", "diff", "register", "promote"))
