"""`soma schema check --against log`: what is really stored, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.operations.schema_load import parse_schema
from soma_cli.core.operations.schema_log import check_log
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.system import create_memory_system
from tests.cli.schema_folder import ROOT, copy_schemas, soma, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, and soma's schemas as `./schemas` to change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMA_DATA_DIR", str(tmp_path / "data"))
    return copy_schemas(tmp_path / "schemas")


def changed_event(folder: Path, **properties: Any) -> Path:
    """The event's schema with other properties."""
    schema = json.loads((ROOT / "schemas/memory.event.json").read_text(encoding="utf-8"))
    schema["properties"] |= properties
    return write(folder / "memory.event.json", schema)


def check(*arguments: str | Path) -> dict[str, Any]:
    found = json.loads(soma("schema", "check", *arguments, "--against", "log", "-o", "json").stdout)
    subject = found["subjects"][0]
    assert found["compatible"] is subject["compatible"]
    assert isinstance(subject, dict)
    return subject


def test_an_empty_log_holds_nothing_that_breaks(folder: Path) -> None:
    result = soma("schema", "check", "--against", "log")
    assert result.exit_code == 0
    assert "schemas/memory.event.json accepts all 0 events in the log" in result.stdout
    assert "nothing was compared: the log is empty" in result.stderr


def test_the_schema_of_events_need_not_lie_in_the_folder(folder: Path) -> None:
    (folder / "memory.event.json").unlink()
    write(folder / "other.json", {})
    soma("store", "--text", "a memory")
    assert check()["compatible"] is True


def test_of_many_faults_not_every_document_is_kept(folder: Path) -> None:
    names = [f"k{number}" for number in range(30)]
    schema = parse_schema("many", json.dumps({"properties": {key: {"type": "string"} for key in names}}), "many")
    with create_memory_system() as system:
        system.adapters.log.append([NewRecord(EVENTS_TOPIC, b"key", json.dumps(dict.fromkeys(names, 1)).encode())])
        violations = check_log(system.adapters.log, schema).violations
    assert len(violations) == 30
    assert len([one for one in violations if one.witness is not None]) == 20


def test_what_was_written_is_accepted_by_the_schema_that_it_was_written_with(folder: Path) -> None:
    for number in range(3):
        soma("store", "--text", f"memory {number}")
    subject = check()
    assert (subject["compatible"], subject["events"], subject["refused"]) == (True, 3, 0)
    assert (subject["subject"], subject["against"]) == ("memory.event", ["memory.events"])


def test_failures_are_counted_by_pointer_with_the_first_positions(folder: Path) -> None:
    for importance in (1, 5, 0.5, *range(11, 20)):
        soma("store", "--text", "a memory", "--importance", str(importance))
    changed_event(folder, importance={"type": "integer", "maximum": 10})
    result = soma("schema", "check", "--against", "log")
    assert result.exit_code == 7
    assert "10 of 12 events in the log are refused by schemas/memory.event.json" in result.stdout
    assert "9 events, first at memory.events/0@3, memory.events/0@4" in result.stdout
    assert "the log holds events that memory.event refuses" in result.stderr
    annotations = soma("schema", "check", "--against", "log", "-o", "github").stdout
    assert "::error file=schemas/memory.event.json,line=" in annotations
    assert "%0A9 events, first at memory.events/0@3, " in annotations
    most, least = check()["violations"]
    assert (most["pointer"], most["keyword"], most["count"]) == ("/properties/importance/maximum", "maximum", 9)
    assert most["positions"] == [f"memory.events/0@{offset}" for offset in range(3, 8)]
    assert most["witness"]["importance"] == 11
    assert "(at /importance)" in most["message"]
    assert (least["pointer"], least["count"], least["positions"]) == (
        "/properties/importance/type",
        1,
        ["memory.events/0@2"],
    )


def test_what_is_no_json_is_refused_too(folder: Path) -> None:
    with create_memory_system() as system:
        system.adapters.log.append(
            [NewRecord(EVENTS_TOPIC, b"key", value) for value in (b"\xff\x00", None, b"{}", b'{"id": 7}', b'{"id": 8}')]
        )
    subject = check()
    assert (subject["events"], subject["refused"]) == (5, 5)
    assert sum(one["count"] for one in subject["violations"] if not one["pointer"]) == 2
    required = next(one for one in subject["violations"] if one["keyword"] == "required")
    assert (required["count"], required["witness"]) == (3, {})


def test_a_draft_can_be_held_against_the_log(folder: Path) -> None:
    soma("store", "--text", "a memory")
    draft = write(folder.parent / "draft.json", {"type": "object", "required": ["actor"]})
    assert check(draft)["refused"] == 1
    assert soma("schema", "check", "a", "b", "--against", "log").exit_code == 2


def test_memory_does_not_grow_with_the_log(folder: Path) -> None:
    """However many events fail in however many ways, what is kept is bounded."""
    schema = {"additionalProperties": {"$ref": "#"}, "not": {"required": ["x"]}}
    deep: Any = {"x": 0}
    records = []
    for _ in range(150):
        deep = {"a": deep}
        records.append(NewRecord(EVENTS_TOPIC, b"key", json.dumps({**deep, "x": 0}).encode()))
    with create_memory_system() as system:
        system.adapters.log.append(records)
        told: list[int] = []
        found = check_log(system.adapters.log, parse_schema("deep", json.dumps(schema), "deep.json"), told.append)
    assert (found.events, found.refused, sum(told)) == (150, 150, 150)
    assert len(found.violations) <= 1000
    assert all(len(one.positions) <= 5 for one in found.violations)
