"""What people do to a schema from one version to the next; `left` is the old one."""

from __future__ import annotations

from typing import Any

from tests.compatibility.pair import NOTHING, Row

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}


def _user(closed: bool = False, required: tuple[str, ...] = ("id",), **properties: Any) -> dict[str, Any]:
    base = {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string", "minLength": 1}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": base | properties,
        "required": list(required),
        **({"additionalProperties": False} if closed else {}),
    }


_ID = {"id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"}

EVOLUTIONS = [
    Row("nothing changes", _user(), _user()),
    Row("an optional property, open", _user(), _user(age=_INTEGER), _ID | {"age": "x"}),
    Row("an optional property without a type, open", _user(), _user(age={"description": "in years"})),
    Row("an optional property, closed", _user(True), _user(True, age=_INTEGER), NOTHING, _ID | {"age": 1}),
    Row("a required property", _user(), _user(required=("id", "name")), _ID),
    Row("a required property with a default", _user(), _user(required=("id", "age"), age={"default": 1}), _ID),
    Row("a property is no longer required", _user(required=("id", "name")), _user(), NOTHING, _ID),
    Row("a property goes, open", _user(age=_INTEGER), _user(), NOTHING, _ID | {"age": "x"}),
    Row("a property goes, closed", _user(True, age=_INTEGER), _user(True), _ID | {"age": 1}),
    Row(
        "a property is renamed, closed",
        _user(True, age=_INTEGER),
        _user(True, years=_INTEGER),
        _ID | {"age": 1},
        _ID | {"years": 1},
    ),
    Row(
        "a property becomes nullable",
        _user(age=_INTEGER),
        _user(age={"type": ["integer", "null"]}),
        NOTHING,
        _ID | {"age": None},
    ),
    Row("a property becomes a number", _user(age=_INTEGER), _user(age={"type": "number"}), NOTHING, _ID | {"age": 0.5}),
    Row("a property becomes a string", _user(age=_INTEGER), _user(age=_STRING), _ID | {"age": 1}, _ID | {"age": ""}),
    Row(
        "a value becomes a list",
        _user(tag=_STRING),
        _user(tag={"type": "array", "items": _STRING}),
        _ID | {"tag": ""},
        _ID | {"tag": []},
    ),
    Row(
        "a value or a list of them",
        _user(tag=_STRING),
        _user(tag={"anyOf": [_STRING, {"type": "array", "items": _STRING}]}),
        NOTHING,
        _ID | {"tag": []},
    ),
    Row(
        "a symbol is added",
        _user(kind={"enum": ["a", "b"]}),
        _user(kind={"enum": ["a", "b", "c"]}),
        NOTHING,
        _ID | {"kind": "c"},
    ),
    Row("a symbol is taken away", _user(kind={"enum": ["a", "b"]}), _user(kind={"enum": ["a"]}), _ID | {"kind": "b"}),
    Row(
        "a length is bounded",
        _user(),
        _user(name={"type": "string", "minLength": 1, "maxLength": 5}),
        _ID | {"name": "abcdef"},
    ),
    Row(
        "a pattern is put on",
        _user(),
        _user(name={"type": "string", "minLength": 1, "pattern": "^[a-z]+$"}),
        _ID | {"name": "A"},
    ),
    Row(
        "a format is put on",
        _user(mail=_STRING),
        _user(mail={"type": "string", "format": "email"}),
        _ID | {"mail": "x"},
    ),
    Row(
        "a format is taken off",
        _user(at={"type": "string", "format": "date-time"}),
        _user(at=_STRING),
        NOTHING,
        _ID | {"at": "x"},
    ),
    Row("an open object is closed", _user(), _user(True), _ID | {"x": 1}),
    Row(
        "names for extensions", _user(True), _user(True) | {"patternProperties": {"^x-": {}}}, NOTHING, _ID | {"x-a": 1}
    ),
    Row(
        "a part moves to definitions",
        _user(home={"type": "object", "required": ["city"]}),
        _user(home={"$ref": "#/definitions/place"})
        | {"definitions": {"place": {"type": "object", "required": ["city"]}}},
    ),
    Row(
        "a part that moves is narrowed on the way",
        _user(home={"type": "object"}),
        _user(home={"$ref": "#/definitions/place"})
        | {"definitions": {"place": {"type": "object", "required": ["city"]}}},
        _ID | {"home": {}},
    ),
    Row("split in two by allOf", _user(age=_INTEGER), {"allOf": [_user(), {"properties": {"age": _INTEGER}}]}),
    Row(
        "a variant is added",
        {"oneOf": [_user(True, kind={"const": "a"}, required=("id", "kind"))]},
        {
            "oneOf": [
                _user(True, kind={"const": "a"}, required=("id", "kind")),
                _user(True, kind={"const": "b"}, required=("id", "kind")),
            ]
        },
        NOTHING,
        _ID | {"kind": "b"},
    ),
    Row(
        "a tag holds the variants no longer apart",
        {
            "oneOf": [
                _user(kind={"const": "a"}, required=("id", "kind")),
                _user(kind={"const": "b"}, required=("id", "kind")),
            ]
        },
        {"oneOf": [_user(kind={"const": "a"}), _user(kind={"const": "b"})]},
        NOTHING,
        NOTHING,
    ),
    Row(
        "a description is mended", _user(age=_INTEGER), _user(age=_INTEGER | {"description": "in years", "default": 3})
    ),
    Row(
        "one must have mail or phone",
        _user(),
        _user() | {"anyOf": [{"required": ["mail"]}, {"required": ["phone"]}]},
        _ID,
    ),
    Row(
        "mail and phone no longer exclude each other",
        _user() | {"oneOf": [{"required": ["mail"]}, {"required": ["phone"]}]},
        _user() | {"anyOf": [{"required": ["mail"]}, {"required": ["phone"]}]},
        NOTHING,
        _ID | {"mail": 1, "phone": 1},
    ),
    Row(
        "a condition comes",
        _user(country=_STRING),
        _user(country=_STRING)
        | {"if": {"properties": {"country": {"const": "US"}}, "required": ["country"]}, "then": {"required": ["zip"]}},
        _ID | {"country": "US"},
    ),
    Row(
        "a list of at least one",
        _user(tags={"type": "array", "items": _STRING}),
        _user(tags={"type": "array", "items": _STRING, "minItems": 1}),
        _ID | {"tags": []},
    ),
    Row(
        "a list becomes a set",
        _user(tags={"type": "array", "items": _STRING}),
        _user(tags={"type": "array", "items": _STRING, "uniqueItems": True}),
        _ID | {"tags": ["", ""]},
    ),
    Row(
        "a vector of a fixed length",
        _user(v={"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
        _user(v={"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}),
        _ID | {"v": [0, 0]},
        _ID | {"v": [0, 0, 0]},
    ),
    Row(
        "a percentage becomes a ratio",
        _user(p={"type": "integer", "minimum": 0, "maximum": 100}),
        _user(p={"type": "number", "minimum": 0, "maximum": 1}),
        _ID | {"p": 2},
        _ID | {"p": 0.5},
    ),
]
