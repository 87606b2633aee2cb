"""$ref, definitions, $id, recursion."""

from __future__ import annotations

from typing import Any

from tests.compatibility.pair import NOTHING, Row

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}


def _ref(name: str, **definitions: Any) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}", "definitions": definitions}


def _list(value: Any, end: Any = None) -> dict[str, Any]:
    """A linked list of values."""
    node = {
        "type": "object",
        "properties": {"value": value, "next": {"$ref": "#/definitions/node"}},
        "required": ["value"],
        **(end or {}),
    }
    return _ref("node", node=node)


def _tree(value: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"value": value, "children": {"type": "array", "items": {"$ref": "#"}}},
        **more,
    }


_SELF = {"$ref": "#"}

REFERENCES = [
    Row("a reference is what it refers to", _ref("a", a=_STRING), _STRING),
    Row("a reference to a reference", _ref("a", a={"$ref": "#/definitions/b"}, b=_STRING), _STRING),
    Row("siblings of a reference are ignored", _ref("a", a=_STRING) | {"minLength": 5}, _STRING),
    Row(
        "a sibling type is ignored",
        {"properties": {"a": {"$ref": "#/definitions/a", "type": "string"}}, "definitions": {"a": _INTEGER}},
        {"properties": {"a": _INTEGER}},
    ),
    Row(
        "allOf holds siblings",
        {"allOf": [{"$ref": "#/definitions/a"}, {"minLength": 5}], "definitions": {"a": _STRING}},
        _STRING | {"minLength": 5},
    ),
    Row("a definition widens", _ref("a", a=_INTEGER), _ref("a", a={"type": "number"}), NOTHING, 0.5),
    Row("a definition narrows", _ref("a", a=_STRING), _ref("a", a=_STRING | {"maxLength": 1}), "aa"),
    Row("a definition is renamed", _ref("a", a=_STRING), _ref("b", b=_STRING)),
    Row(
        "an unused definition changes",
        {"definitions": {"a": _STRING}, "type": "null"},
        {"definitions": {"a": _INTEGER}, "type": "null"},
    ),
    Row(
        "a definition inlined",
        {"properties": {"a": {"$ref": "#/definitions/a"}}, "definitions": {"a": _STRING}},
        {"properties": {"a": _STRING}},
    ),
    Row(
        "a reference into properties",
        {"properties": {"a": _STRING, "b": {"$ref": "#/properties/a"}}},
        {"properties": {"a": _STRING, "b": _STRING}},
    ),
    Row("a reference with escapes", {"$ref": "#/definitions/a~1b~0c%25", "definitions": {"a/b~c%": _STRING}}, _STRING),
    Row(
        "a reference into a list",
        {"anyOf": [_STRING, {"type": "array", "items": {"$ref": "#/anyOf/0"}}]},
        {"anyOf": [_STRING, {"type": "array", "items": _STRING}]},
    ),
    Row("a reference by a plain name", {"$ref": "#s", "definitions": {"a": {"$id": "#s", "type": "string"}}}, _STRING),
    Row(
        "a reference by the schema's own address",
        {
            "$id": "http://soma.test/a.json",
            "properties": {"a": {"$ref": "a.json#/definitions/a"}},
            "definitions": {"a": _STRING},
        },
        {"properties": {"a": _STRING}},
    ),
    Row(
        "a reference to an embedded schema",
        {
            "$id": "http://soma.test/a.json",
            "properties": {"a": {"$ref": "b.json"}},
            "definitions": {"a": {"$id": "b.json", "type": "string"}},
        },
        {"properties": {"a": _STRING}},
    ),
    Row(
        "a $ref that is a property's name",
        {"properties": {"$ref": _STRING}},
        {"properties": {"$ref": _STRING | {"minLength": 1}}},
        {"$ref": ""},
    ),
    Row("a $ref inside a const is no reference", {"const": {"$ref": "#/nowhere"}}, {"enum": [{"$ref": "#/nowhere"}]}),
    Row("lists, the same", _list(_INTEGER), _list(_INTEGER)),
    Row("lists, wider values", _list(_INTEGER), _list({"type": "number"}), NOTHING, {"value": 0.5}),
    Row(
        "lists, closed",
        _list(_INTEGER, {"additionalProperties": False}),
        _list(_INTEGER),
        NOTHING,
        {"value": 1, "x": 1},
    ),
    Row(
        "lists, unfolded once",
        _list(_INTEGER),
        {
            "type": "object",
            "required": ["value"],
            "properties": {"value": _INTEGER, "next": {"$ref": "#/definitions/node"}},
            "definitions": _list(_INTEGER)["definitions"],
        },
    ),
    Row("lists that never end", _list(_INTEGER, {"required": ["value", "next"]}), False),
    Row(
        "lists that never end, in a property",
        {
            "properties": {"a": {"$ref": "#/definitions/node"}},
            "definitions": _list(_INTEGER, {"required": ["next"]})["definitions"],
        },
        {"properties": {"a": False}},
    ),
    Row("trees, the same", _tree(_INTEGER), _tree(_INTEGER)),
    Row("trees, wider values", _tree(_INTEGER), _tree({"type": "number"}), NOTHING, {"value": 0.5}),
    Row("trees, values needed", _tree(_INTEGER), _tree(_INTEGER, required=["value"]), {}),
    Row(
        "trees, fewer children",
        _tree(_INTEGER),
        _tree(_INTEGER)
        | {"properties": {"value": _INTEGER, "children": {"type": "array", "items": _SELF, "maxItems": 2}}},
        {"children": [{}, {}, {}]},
    ),
    Row(
        "trees by a definition",
        _tree(_INTEGER),
        _ref(
            "t",
            t={
                "type": "object",
                "properties": {"value": _INTEGER, "children": {"type": "array", "items": {"$ref": "#/definitions/t"}}},
            },
        ),
    ),
    Row(
        "trees of two kinds of level",
        _ref(
            "a",
            a={"items": {"$ref": "#/definitions/b"}, "type": "array"},
            b={"items": {"$ref": "#/definitions/a"}, "type": "array"},
        ),
        {"type": "array", "items": _SELF},
    ),
    Row(
        "arrays of arrays and no end but empty",
        {"type": "array", "items": _SELF},
        {"type": "array", "items": {"type": "array"}},
        NOTHING,
        [[1]],
    ),
    Row("arrays of arrays without an end", {"type": "array", "items": _SELF, "minItems": 1}, False),
    Row(
        "expressions",
        {"anyOf": [_INTEGER, {"type": "array", "items": _SELF, "minItems": 2}]},
        {"anyOf": [{"type": "number"}, {"type": "array", "items": _SELF}]},
        NOTHING,
        [],
    ),
    Row(
        "a difference deep inside",
        {"type": "object", "properties": {"a": _SELF, "v": _INTEGER}, "additionalProperties": False},
        {"type": "object", "properties": {"a": {"properties": {"a": {"properties": {"a": {"maxProperties": 0}}}}}}},
        {"a": {"a": {"a": {"v": 1}}}},
        {"x": 1},
    ),
    Row(
        "recursion under not",
        {"not": {"required": ["a"], "properties": {"a": _SELF}}},
        {"type": "object"},
        NOTHING,
        {"a": {}},
    ),
    Row(
        "mutual recursion that differs",
        _ref(
            "a",
            a={"type": "object", "properties": {"b": {"$ref": "#/definitions/b"}}},
            b={"type": "object", "properties": {"a": {"$ref": "#/definitions/a"}}},
        ),
        _ref(
            "a",
            a={"type": "object", "properties": {"b": {"$ref": "#/definitions/b"}}},
            b={"type": "object", "properties": {"a": {"$ref": "#/definitions/a"}}, "required": ["a"]},
        ),
        {"b": {}},
    ),
    Row(
        "even and odd lists",
        _ref(
            "even",
            even={"type": "array", "items": {"$ref": "#/definitions/odd"}, "maxItems": 1},
            odd={"type": "array", "items": {"$ref": "#/definitions/even"}, "minItems": 1, "maxItems": 1},
        ),
        {"type": "array", "items": {"type": "array", "minItems": 1, "items": _SELF, "maxItems": 1}, "maxItems": 1},
    ),
]
