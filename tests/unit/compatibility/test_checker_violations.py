"""What a broken pair is told: every place that breaks, the keyword there, and a document that shows it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.compatibility import Verdict, check
from soma_cli.core.compatibility.validation import validator

EVENT = json.loads((Path(__file__).parents[3] / "schemas" / "memory.event.json").read_text(encoding="utf-8"))
_OBJECT = {"type": "object"}


def places(verdict: Verdict) -> dict[str, Any]:
    """Witnesses by pointer."""
    assert verdict.compatible is False
    return {violation.pointer: violation.witness for violation in verdict.violations}


def test_each_place_that_breaks_is_shown_once() -> None:
    new = copy.deepcopy(EVENT)
    new["required"].append("importance")
    new["properties"]["type"]["enum"].remove("updated")
    new["properties"]["actor"] = {"type": "string"}
    new["properties"]["title"] = {"maxLength": 3}
    verdict = check(EVENT, new)
    assert {(violation.pointer, violation.keyword) for violation in verdict.violations} == {
        ("/required", "required"),
        ("/properties/type/enum", "enum"),
        ("/properties/actor/type", "type"),
        ("/properties/title/maxLength", "maxLength"),
    }
    assert verdict.undecided == []
    for violation in verdict.violations:
        assert validator(EVENT).is_valid(violation.witness)
        assert not validator(new).is_valid(violation.witness)


def test_a_witness_of_one_break_shows_nothing_else() -> None:
    """No member beyond what the writer requires and what breaks."""
    new = copy.deepcopy(EVENT)
    new["properties"]["actor"] = {"type": "string"}
    new["properties"]["title"] = {"maxLength": 3}
    found = places(check(EVENT, new))
    assert set(found["/properties/actor/type"]) == {*EVENT["required"], "actor"}
    assert set(found["/properties/title/maxLength"]) == {*EVENT["required"], "title"}


def test_each_name_that_becomes_required_is_a_violation() -> None:
    verdict = check(_OBJECT, {"required": ["a", "b"]})
    assert [violation.message for violation in verdict.violations] == [
        '"a" is a required property',
        '"b" is a required property',
    ]


@pytest.mark.parametrize(
    ("writer", "reader", "pointer", "keyword"),
    [
        ({"type": "number"}, {"type": "integer"}, "/type", "type"),
        ({"enum": [1, 2]}, {"const": 1}, "/const", "const"),
        ({}, False, "", "false"),
        ({"type": "integer"}, {"minimum": 0}, "/minimum", "minimum"),
        ({"type": "integer"}, {"exclusiveMaximum": 0}, "/exclusiveMaximum", "exclusiveMaximum"),
        ({"multipleOf": 2}, {"multipleOf": 4}, "/multipleOf", "multipleOf"),
        ({"type": "string"}, {"pattern": "^a"}, "/pattern", "pattern"),
        ({"type": "string"}, {"format": "date"}, "/format", "format"),
        ({"type": "string"}, {"format": "uuid"}, "/format", "format"),
        ({"type": "string"}, {"contentEncoding": "base64"}, "/contentEncoding", "contentEncoding"),
        (_OBJECT, {"properties": {"a": False}}, "/properties/a", "properties"),
        (_OBJECT, {"properties": {"items": {"type": "string"}}}, "/properties/items/type", "type"),
        (_OBJECT, {"additionalProperties": False}, "/additionalProperties", "additionalProperties"),
        (_OBJECT, {"patternProperties": {"^x/": {"type": "null"}}}, "/patternProperties/^x~1/type", "type"),
        (_OBJECT, {"propertyNames": {"maxLength": 1}}, "/propertyNames/maxLength", "maxLength"),
        (_OBJECT, {"dependencies": {"a": ["b"]}}, "/dependencies", "dependencies"),
        ({"type": "array"}, {"items": {"type": "null"}}, "/items/type", "type"),
        ({"type": "array"}, {"items": [True, {"type": "null"}]}, "/items/1/type", "type"),
        ({"type": "array"}, {"items": [True], "additionalItems": False}, "/additionalItems", "additionalItems"),
        ({"type": "array"}, {"contains": {"type": "null"}}, "/contains", "contains"),
        ({"type": "array"}, {"uniqueItems": True}, "/uniqueItems", "uniqueItems"),
        ({}, {"not": {"type": "string"}}, "/not", "not"),
        ({}, {"allOf": [{}, {"type": "string"}]}, "/allOf/1/type", "type"),
        ({}, {"if": {"type": "string"}, "then": {"maxLength": 0}}, "/then/maxLength", "maxLength"),
        ({}, {"oneOf": [{"type": "number"}, {"type": "integer"}, {"not": {"type": "number"}}]}, "/oneOf", "oneOf"),
    ],
)  # fmt: skip
def test_the_place_is_the_assertion_that_refuses(writer: Any, reader: Any, pointer: str, keyword: str) -> None:
    verdict = check(writer, reader)
    assert [(violation.pointer, violation.keyword) for violation in verdict.violations] == [(pointer, keyword)]


def test_a_break_behind_a_reference_is_shown_where_it_is_defined() -> None:
    def schema(name: dict[str, Any]) -> dict[str, Any]:
        person = {"type": "object", "properties": {"name": name, "friend": {"$ref": "#/definitions/person"}}}
        return {"properties": {"of": {"$ref": "#/definitions/person"}}, "definitions": {"person": person}}

    found = places(check(schema({"type": "string"}), schema({"type": "string", "minLength": 1})))
    assert found == {"/definitions/person/properties/name/minLength": {"of": {"name": ""}}}


def test_a_break_in_the_one_alternative_that_is_meant_is_shown_there() -> None:
    def schema(kind: str) -> dict[str, Any]:
        branches = [{"properties": {"kind": {"const": n}, n: {"type": kind}}, "required": ["kind"]} for n in "ab"]
        return {"type": "object", "anyOf": branches}

    assert places(check(schema("number"), schema("integer"))) == {
        "/anyOf/0/properties/a/type": {"kind": "a", "a": 0.5},
        "/anyOf/1/properties/b/type": {"kind": "b", "b": 0.5},
    }


def test_a_break_inside_what_may_also_be_null_is_shown_inside() -> None:
    def schema(kind: str) -> dict[str, Any]:
        return {
            "properties": {"a": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"b": {"type": kind}}}]}}
        }

    assert places(check(schema("number"), schema("integer"))) == {
        "/properties/a/anyOf/1/properties/b/type": {"a": {"b": 0.5}}
    }


def test_the_sentence_says_what_and_where() -> None:
    verdict = check({"type": "array"}, {"items": {"maxLength": 2}})
    assert verdict.violations[0].message == '"aaa" is longer than 2 characters (at /0)'


def test_a_long_value_does_not_make_a_long_sentence() -> None:
    verdict = check({"type": "string"}, {"maxLength": 5000})
    assert len(verdict.violations[0].witness) == 5001
    assert len(verdict.violations[0].message) <= 240


def test_the_number_of_violations_is_bounded() -> None:
    reader = {"properties": {f"p{number}": {"type": "string"} for number in range(100)}}
    assert len(check(_OBJECT, reader).violations) == 20


def test_a_shallow_witness_is_found_before_a_deep_one() -> None:
    def schema(depth: int, innermost: dict[str, Any]) -> dict[str, Any]:
        for _ in range(depth):
            innermost = {"properties": {"deep": innermost, "name": {"type": "string"}}}
        return innermost

    reader = schema(40, {"type": "string"})
    reader["properties"]["new"] = {"type": "string"}
    assert check(schema(40, {"type": "number"}), reader).violations[0].witness == {"new": None}


def test_what_is_taken_out_may_be_what_a_reference_leads_to() -> None:
    reader = {"properties": {"a": {"not": {"type": "null"}}, "b": {"$ref": "#/properties/a/not"}}}
    found = places(check(_OBJECT, reader))
    assert "/properties/a/not" in found or "/properties/a/not/type" in found


def test_a_schema_that_is_asserted_and_denied() -> None:
    reader = {
        "properties": {"a": {"$ref": "#/definitions/small"}, "b": {"not": {"$ref": "#/definitions/small"}}},
        "definitions": {"small": {"type": "integer", "maximum": 5}},
    }
    found = places(check(_OBJECT, reader))
    assert {"/definitions/small/type", "/properties/b/not"} & set(found)


def test_a_place_below_an_address_of_its_own_is_counted_from_the_root() -> None:
    reader = {
        "$id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "inner.json"}},
        "definitions": {"inner": {"$id": "inner.json", "properties": {"b": {"type": "string"}}}},
    }
    assert places(check({"properties": {"a": _OBJECT}}, reader)) == {
        "/definitions/inner/properties/b/type": {"a": {"b": None}}
    }


def test_a_break_in_the_schema_of_schemas_is_shown_where_it_is_referred_to() -> None:
    reader = {"properties": {"a": {"$ref": "http://json-schema.org/draft-07/schema#"}}}
    assert list(places(check({"properties": {"a": _OBJECT}}, reader))) == ["/properties/a/$ref"]
    assert check(reader, {"properties": {"a": {"type": ["object", "boolean"]}}}).compatible
