"""A schema that was read means what the validator takes it to mean: both are asked about the same documents."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest

from soma_cli.core.compatibility import check
from soma_cli.core.compatibility.assertions import Algebra
from soma_cli.core.compatibility.budget import Budget, Meter
from soma_cli.core.compatibility.documents import Document, Untreated
from soma_cli.core.compatibility.evaluation import Evaluation
from soma_cli.core.compatibility.reading import Reading
from soma_cli.core.compatibility.strings import Strings
from soma_cli.core.compatibility.validation import validator
from tests.compatibility.documents import changed
from tests.compatibility.relations import unknown
from tests.compatibility.table import CASES

DOCUMENTS: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 0.5, 2**53, 10**25, "", "a", "aa", "2000-01-01", "é"),
    *([], [1], [1, 1], [1, True], ["a", 1, None], [[1], [1.0]], {}, {"a": 1}, {"a": None, "b": 1}, {"b": "a", "x": []}),
    *({"a": {"a": {"a": 1}}}, {"next": {"next": {}}}, {"next": {"next": 1}}, {"a": "a", "c": "b"}),
]


def disagreements(schema: Any, documents: list[Any]) -> list[Any]:
    algebra = Algebra()
    reading = Reading(algebra, Document(schema), {})
    root = reading.root()

    def target(ref: int) -> int:
        found = reading.target(ref)
        assert found is not None
        return found

    meter = Meter(Budget(steps=10**9))
    evaluation, valid = Evaluation(algebra, target, Strings(meter).matches, meter), validator(schema).is_valid
    return [document for document in documents if evaluation.holds(root, document) != valid(document)]


def test_the_schemas_of_the_table() -> None:
    schemas = [schema for case in CASES for schema in (case.writer, case.reader)]
    for schema in schemas:
        try:
            assert disagreements(schema, DOCUMENTS) == [], schema
        except Untreated:
            assert check(schema, {"type": "string"}).compatible is None


CONTENTS: list[Any] = [
    {"contentEncoding": encoding, "contentMediaType": media}
    for encoding in ("base64", "BASE64", "quoted-printable")
    for media in ("application/json", "text/plain", "application/json; charset=utf-8")
]


@pytest.mark.parametrize("schema", [*CONTENTS, *({key: one[key]} for one in CONTENTS for key in one)])
def test_content(schema: Any) -> None:
    assert disagreements(schema, [*DOCUMENTS, "MQ==", "e30=", "{}", "!!", "1", "YQ==", "aGk"]) == []


def test_random_schemas() -> None:
    random = Random(1)
    for case in islice(unknown(1, 300), 300):
        near = [changed(random, document) for document in DOCUMENTS]
        assert disagreements(case.writer, DOCUMENTS + near) == [], case.writer
        assert disagreements(case.reader, DOCUMENTS + near) == [], case.reader


_STRING, _INTEGER = {"type": "string"}, {"type": "integer"}
_A_IS_ONE = {"properties": {"a": {"$ref": "#/definitions/one"}}}
BASES: dict[str, Any] = {
    "the root by its own address": {
        "$id": "http://example.com/root.json",
        "properties": {
            "a": {"$ref": "http://example.com/root.json#/definitions/one"},
            "b": {"$ref": "root.json#/definitions/one"},
        },
        "definitions": {"one": _STRING},
    },
    "a plain anchor": {"properties": {"a": {"$ref": "#one"}}, "definitions": {"one": {"$id": "#one", **_STRING}}},
    "an anchor and an address": {
        "$id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "http://example.com/root.json#one"}},
        "definitions": {"one": {"$id": "#one", **_STRING}},
    },
    "an inner address": {
        "$id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "item.json"}, "b": {"$ref": "http://example.com/item.json"}},
        "definitions": {"one": {"$id": "item.json", **_STRING}},
    },
    "a pointer below an inner address leads within it": {
        "$id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "inner.json"}, "b": {"$ref": "#/definitions/one"}},
        "definitions": {
            "one": _STRING,
            "inner": {"$id": "inner.json", "allOf": [{"$ref": "#/definitions/one"}], "definitions": {"one": _INTEGER}},
        },
    },
    "a pointer into an inner address": {
        "$id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "inner.json#/definitions/one"}},
        "definitions": {"inner": {"$id": "inner.json", "definitions": {"one": _INTEGER}}},
    },
    "escapes in a pointer": {
        "properties": {
            "a": {"$ref": "#/definitions/a~1b"},
            "b": {"$ref": "#/definitions/c%25d"},
            "c": {"$ref": "#/definitions/~0"},
        },
        "definitions": {"a/b": _STRING, "c%d": _INTEGER, "~": _STRING},
    },
    "a pointer into a list": {"properties": {"a": {"$ref": "#/allOf/1"}}, "allOf": [{}, {"maxProperties": 1}]},
    "a pointer into what is no keyword": {"properties": {"a": {"$ref": "#/others/one"}}, "others": {"one": _STRING}},
    "siblings of a reference": {
        **_A_IS_ONE,
        "definitions": {"one": {"$ref": "#/definitions/two", "type": "null"}, "two": _STRING},
    },
    "a reference at the root": {
        "$ref": "#/definitions/one",
        "definitions": {"one": {"maxProperties": 1}},
        "type": "string",
    },
    "a member that is called $ref": {"properties": {"$ref": _STRING, "a": _INTEGER}},
    "a member that is called $id": {"properties": {"$id": _STRING, "a": {"$ref": "#/properties/$id"}}},
    "an $id in an enum": {"enum": [{"$id": "http://example.com/"}, {"a": 1}, 1]},
    "the root again": {"properties": {"next": {"$ref": "#"}}, "type": "object"},
    "two that need each other": {
        **_A_IS_ONE,
        "definitions": {
            "one": {"anyOf": [_INTEGER, {"$ref": "#/definitions/two"}]},
            "two": {"type": "object", "additionalProperties": {"$ref": "#/definitions/one"}},
        },
    },
    "recursion through a negation": {"type": ["object", "integer"], "properties": {"a": {"not": {"$ref": "#"}}}},
}


@pytest.mark.parametrize("name", BASES)
def test_references(name: str) -> None:
    random = Random(1)
    texts = [
        {key: value}
        for key in ("a", "b", "c", "$ref", "$id")
        for value in ("a", 1, None, {}, {"a": 1}, {"a": {"a": "x"}})
    ]
    near = [changed(random, document) for document in texts]
    assert disagreements(BASES[name], [*DOCUMENTS, *texts, *near]) == []
    assert check(BASES[name], BASES[name]).compatible


def test_a_schema_that_is_only_written_in_another_way_is_the_same() -> None:
    inline = {"type": "object", "properties": {"a": {"type": "integer", "title": "A", "default": 1}}}
    referring = {
        "definitions": {"n": {"type": ["integer"]}},
        "allOf": [{"properties": {"a": {"$ref": "#/definitions/n"}}, "type": "object"}],
    }
    assert check(inline, referring).compatible
    assert check(referring, inline).compatible
