"""`soma schema diff`: what changed, by pointer, and which way it breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from soma_cli.core.operations.schema_check import Version
from soma_cli.core.operations.schema_diff import diff
from soma_cli.core.schema_results import SchemaChange
from tests.cli.schema_folder import DRAFT_7, PERSON, WITH_EMAIL, folder_of, record, soma, write


def changes(old: Any, new: Any) -> dict[str, SchemaChange]:
    """The changes, by pointer, and for a member of a set by its value too."""
    found = diff(Version("old", old), Version("new", new)).changes
    named = {
        change.pointer + (f"={change.new if change.change == 'added' else change.old}" * _is_member(change)): change
        for change in found
    }
    assert len(named) == len(found)
    return named


def _is_member(change: SchemaChange) -> bool:
    return change.pointer.endswith(("/required", "/enum")) and change.change != "changed"


def verdicts(old: Any, new: Any) -> dict[str, tuple[str, bool | None, bool | None]]:
    """What is said of each change; its witnesses are looked at with a validator."""
    found = changes(old, new)
    accepts = jsonschema_rs.Draft7Validator(old).is_valid
    for change in found.values():
        for way in change.witnesses:
            assert accepts(change.witnesses[way]) is (way == "backward"), change
    return {pointer: (change.change, change.backward, change.forward) for pointer, change in found.items()}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"type": "string"}, {"type": "string"}, {}),
        ({"maximum": 5}, {"maximum": 9}, {"/maximum": ("changed", True, False)}),
        ({"maximum": 9}, {"maximum": 5}, {"/maximum": ("changed", False, True)}),
        ({}, {"maxLength": 5}, {"/maxLength": ("added", False, True)}),
        ({"maxLength": 5}, {}, {"/maxLength": ("removed", True, False)}),
        ({"title": "a"}, {"title": "b", "description": "c"}, {
            "/title": ("changed", True, True),
            "/description": ("added", True, True),
        }),
        ({"enum": [1, 2]}, {"enum": [2, 3]}, {"/enum=1": ("removed", False, True), "/enum=3": ("added", True, False)}),
        ({"enum": [1, 2]}, {"enum": [2, 1]}, {}),
        ({"enum": [1, True]}, {"enum": [1, 1.5]}, {
            "/enum=True": ("removed", False, True),
            "/enum=1.5": ("added", True, False),
        }),
        ({"required": ["a"]}, {"required": ["a", "b"]}, {"/required=b": ("added", False, True)}),
        ({}, {"required": ["a"]}, {"/required=['a']": ("added", False, True)}),
        (
            {"properties": {"a": {"type": "string"}, "b": {}}},
            {"properties": {"a": {"type": ["string", "null"]}, "c": {"type": "null"}}},
            {
                "/properties/a/type": ("changed", True, False),
                "/properties/b": ("removed", True, True),
                "/properties/c": ("added", False, True),
            },
        ),
        ({}, {"properties": {"a/b": {"type": "null"}}}, {"/properties/a~1b": ("added", False, True)}),
        ({"items": {"minimum": 1}}, {"items": {"minimum": 2}}, {"/items/minimum": ("changed", False, True)}),
        (
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            {"/anyOf/1/type": ("changed", False, False)},
        ),
        (
            {"anyOf": [{"type": "null"}]},
            {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            {"/anyOf": ("changed", True, False)},
        ),
        (True, False, {"": ("changed", False, True)}),
    ],
)  # fmt: skip
def test_each_change_is_named_and_judged(
    old: Any, new: Any, expected: dict[str, tuple[str, bool | None, bool | None]]
) -> None:
    assert verdicts(old, new) == expected


def test_a_definition_that_comes_or_goes_changes_nothing_by_itself() -> None:
    old = {"properties": {"a": {"$ref": "#/definitions/x"}}, "definitions": {"x": {"type": "string"}}}
    new = {"properties": {"a": {"$ref": "#/definitions/y"}}, "definitions": {"y": {"type": "integer"}}}
    assert verdicts(old, new) == {
        "/properties/a/$ref": ("changed", False, False),
        "/definitions/x": ("removed", True, True),
        "/definitions/y": ("added", True, True),
    }


def test_a_change_of_a_definition_is_judged_where_it_is_used() -> None:
    old = {"items": {"$ref": "#/definitions/x"}, "definitions": {"x": {"type": "string"}}}
    new = {"items": {"$ref": "#/definitions/x"}, "definitions": {"x": {"type": ["string", "null"]}}}
    assert verdicts(old, new) == {"/definitions/x/type": ("changed", True, False)}


def test_changes_that_only_together_make_sense_are_judged_together_too() -> None:
    """A renamed property: alone, each half breaks nothing or something else than both do."""
    old = {"properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    new = {"properties": {"b": {"type": "string"}}, "required": ["b"], "additionalProperties": False}
    found = diff(Version("old", old), Version("new", new))
    assert (found.backward, found.forward) == (False, False)
    assert len(found.changes) == 4


def test_changes_that_are_too_many_are_named_and_not_judged() -> None:
    old, new = ({"maximum": limit, "maxLength": limit} for limit in (1, 2))
    told: list[int] = []
    found = diff(Version("old", old), Version("new", new), told.append, all_s=0)
    assert [change.pointer for change in found.changes] == ["/maximum", "/maxLength"]
    assert {(change.backward, change.forward) for change in found.changes} == {(None, None)}
    assert all("not checked alone" in change.note for change in found.changes)
    assert (found.backward, found.forward, sum(told)) == (True, False, 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder_of(tmp_path / "schemas", person=PERSON)


def test_a_name_is_compared_with_its_last_version(folder: Path) -> None:
    assert "nothing that a schema says has changed" in soma("schema", "diff", "person").stdout
    write(folder / "versions/person/2.json", WITH_EMAIL)
    write(folder / "person.json", WITH_EMAIL)
    assert "version 2 -> schemas/person.json" in soma("schema", "diff", "person").stdout
    result = soma("schema", "diff", "person", "--version", "1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "version 1 -> schemas/person.json"
    assert '+ /required  "email" (breaks BACKWARD)' in lines
    assert lines[-1] == "together: BACKWARD breaks, FORWARD compatible"
    assert soma("schema", "diff", "person", "--version", "3").exit_code == 6
    assert soma("schema", "diff", "person", "--registry").stdout.startswith("version 2 -> ")


def test_two_files_and_the_documented_shape(folder: Path) -> None:
    old, new = write(folder.parent / "old.json", PERSON), write(folder.parent / "new.json", WITH_EMAIL)
    found = json.loads(soma("schema", "diff", "old.json", "new.json", "-o", "json").stdout)
    assert (found["old"], found["new"], found["backward"], found["forward"]) == ("old.json", "new.json", False, True)
    change = next(change for change in found["changes"] if change["pointer"] == "/required")
    assert (change["change"], change["old"], change["new"]) == ("added", None, "email")
    assert set(change["witnesses"]) == {"backward"}
    assert soma("schema", "diff", str(old)).exit_code == 2
    assert soma("schema", "diff", str(old), str(new), "--version", "1").exit_code == 2


def test_the_draft_may_be_named_in_one_only(folder: Path) -> None:
    without = {key: value for key, value in PERSON.items() if key != "$schema"}
    write(folder / "person.json", without)
    assert "$schema" in soma("schema", "diff", "person").stdout
    assert DRAFT_7 in soma("schema", "diff", "person").stdout
    assert soma("schema", "check").exit_code == 0


def test_a_change_that_is_no_schema_alone_says_so(folder: Path) -> None:
    write(
        folder / "person.json", record(name_={"type": "string"}, age={"$ref": "#/shared/age"}) | {"shared": {"age": {}}}
    )
    found = json.loads(soma("schema", "diff", "person", "-o", "json").stdout)
    notes = {change["pointer"]: change["note"] for change in found["changes"]}
    assert "alone this is no schema" in notes["/properties/age/$ref"]
