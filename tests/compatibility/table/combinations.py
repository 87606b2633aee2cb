"""allOf, anyOf, oneOf, not, if/then/else, and what they do to the rest."""

from __future__ import annotations

from tests.compatibility.pair import NOTHING, Row

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_NUMBER = {"type": "number"}
_OBJECT = {"type": "object"}
_A = {"required": ["a"]}
_B = {"required": ["b"]}

COMBINATIONS = [
    Row("allOf of one", {"allOf": [_STRING]}, _STRING),
    Row("allOf beside keywords", _STRING | {"allOf": [{"minLength": 1}]}, _STRING | {"minLength": 1}),
    Row("allOf that cannot be", {"allOf": [_STRING, _INTEGER]}, False),
    Row("allOf with one more", {"allOf": [_A]}, {"allOf": [_A, _B]}, {"a": 1}),
    Row("allOf in another order", {"allOf": [_A, _B]}, {"allOf": [_B, _A]}),
    Row("allOf of bounds", {"allOf": [{"minimum": 1}, {"minimum": 2}]}, {"minimum": 2}),
    Row("allOf of false", {"allOf": [True, False]}, {"enum": [1], "type": "string"}),
    Row("allOf of allOf", {"allOf": [{"allOf": [_A]}, {"allOf": [_B]}]}, {"required": ["a", "b"]}),
    Row("anyOf of one", {"anyOf": [_STRING]}, _STRING),
    Row("anyOf of types", {"anyOf": [_STRING, _INTEGER]}, {"type": ["string", "integer"]}),
    Row("anyOf gains one", {"anyOf": [_STRING]}, {"anyOf": [_STRING, _INTEGER]}, NOTHING, 1),
    Row("anyOf loses one", {"anyOf": [_STRING, _INTEGER]}, {"anyOf": [_STRING]}, 1),
    Row("anyOf loses one that another covers", {"anyOf": [_NUMBER, _INTEGER]}, {"anyOf": [_NUMBER]}),
    Row("anyOf with true", {"anyOf": [_STRING, True]}, {}),
    Row("anyOf with false", {"anyOf": [_STRING, False]}, _STRING),
    Row("anyOf of ranges that join", {"anyOf": [_INTEGER | {"maximum": 4}, _INTEGER | {"minimum": 5}]}, _INTEGER),
    Row("anyOf covered by two together", {"enum": [1, "a"]}, {"anyOf": [_STRING, _INTEGER]}, NOTHING, 2),
    Row(
        "anyOf of objects covered by two together",
        _OBJECT | {"properties": {"a": {"enum": [0, 1]}}},
        {"anyOf": [{"properties": {"a": {"const": 0}}}, {"properties": {"a": {"const": 1}}}]},
        NOTHING,
        1,
    ),
    Row(
        "anyOf distributes not over items",
        {"type": "array", "items": {"enum": [0, 1]}},
        {"anyOf": [{"items": {"const": 0}}, {"items": {"const": 1}}]},
        [0, 1],
        1,
    ),
    Row(
        "anyOf of closed objects",
        {
            "anyOf": [
                {"properties": {"a": True}, "additionalProperties": False},
                {"properties": {"b": True}, "additionalProperties": False},
            ]
        },
        {"maxProperties": 1},
        NOTHING,
        {"c": 1},
    ),
    Row("oneOf of one", {"oneOf": [_STRING]}, _STRING),
    Row("oneOf of types apart", {"oneOf": [_STRING, _INTEGER]}, {"type": ["string", "integer"]}),
    Row("oneOf to anyOf, apart", {"oneOf": [_STRING, _INTEGER]}, {"anyOf": [_STRING, _INTEGER]}),
    Row("oneOf to anyOf, not apart", {"oneOf": [_NUMBER, _INTEGER]}, {"anyOf": [_NUMBER, _INTEGER]}, NOTHING, 1),
    Row("oneOf of number and integer", {"oneOf": [_NUMBER, _INTEGER]}, {"type": "number", "not": _INTEGER}),
    Row("oneOf of the same twice", {"oneOf": [_STRING, _STRING]}, False),
    Row("oneOf with true", {"oneOf": [True, _STRING]}, {"not": _STRING}),
    Row("oneOf of false", {"oneOf": [False, _STRING]}, _STRING),
    Row("oneOf gains one apart", {"oneOf": [_STRING]}, {"oneOf": [_STRING, _INTEGER]}, NOTHING, 1),
    Row("oneOf gains one not apart", {"oneOf": [_STRING]}, {"oneOf": [_STRING, {"minLength": 1}]}, "a", 1),
    Row(
        "oneOf of three that overlap",
        {"oneOf": [{"minimum": 0}, {"minimum": 5}, {"minimum": 9}], "type": "number"},
        _NUMBER | {"minimum": 0, "exclusiveMaximum": 5},
    ),
    Row(
        "oneOf of objects by a tag",
        {
            "oneOf": [
                _OBJECT | {"properties": {"t": {"const": "a"}}, "required": ["t"]},
                _OBJECT | {"properties": {"t": {"const": "b"}}, "required": ["t"]},
            ]
        },
        _OBJECT | {"properties": {"t": {"enum": ["a", "b"]}}, "required": ["t"]},
    ),
    Row("oneOf of a or b required", _OBJECT | {"oneOf": [_A, _B]}, {"anyOf": [_A, _B]}, NOTHING, {"a": 1, "b": 1}),
    Row(
        "oneOf as anyOf without both",
        _OBJECT | {"oneOf": [_A, _B]},
        _OBJECT | {"anyOf": [_A, _B], "not": {"required": ["a", "b"]}},
    ),
    Row("not true", {"not": True}, False),
    Row("not false", {"not": False}, True),
    Row("not not", {"not": {"not": _STRING}}, _STRING),
    Row("not a type", {"not": _STRING}, {"type": ["null", "boolean", "object", "array", "number"]}),
    Row("not number, of an integer", {"not": _NUMBER}, {"not": _INTEGER}, NOTHING, 0.5),
    Row(
        "not anyOf is allOf not",
        {"not": {"anyOf": [_STRING, _INTEGER]}},
        {"allOf": [{"not": _STRING}, {"not": _INTEGER}]},
    ),
    Row("not allOf is anyOf not", {"not": {"allOf": [_A, _B]}}, {"anyOf": [{"not": _A}, {"not": _B}]}),
    Row("not oneOf", {"not": {"oneOf": [_STRING, {"minLength": 1}]}}, {"type": "string"}, NOTHING, ""),
    Row("not const widens", {"not": {"enum": [1, 2]}}, {"not": {"const": 1}}, NOTHING, 2),
    Row("not of what cannot be", {"not": {"allOf": [_STRING, _INTEGER]}}, True),
    Row("not an open schema", {"not": {"minLength": 1}}, {"const": ""}),
    Row("all or nothing", {"anyOf": [_A, {"not": _A}]}, {}),
    Row("a thing and its opposite", {"allOf": [_A, {"not": _A}]}, False),
    Row(
        "a nested thing and its opposite",
        {"allOf": [{"properties": {"a": _STRING}}, {"not": {"properties": {"a": _STRING}}}]},
        False,
    ),
    Row("if without then and else", {"if": _STRING}, {}),
    Row("then without if", {"then": False, "else": False}, True),
    Row("if true", {"if": True, "then": _STRING, "else": _INTEGER}, _STRING),
    Row("if false", {"if": False, "then": _STRING, "else": _INTEGER}, _INTEGER),
    Row("if then", {"if": _STRING, "then": {"minLength": 1}}, {"minLength": 1}),
    Row("if then false", {"if": _STRING, "then": False}, {"not": _STRING}),
    Row("if else false", {"if": _STRING, "else": False}, _STRING),
    Row(
        "if then else as anyOf",
        {"if": _A, "then": _B, "else": {"maxProperties": 1}},
        {"anyOf": [{"allOf": [_A, _B]}, {"not": _A, "maxProperties": 1}]},
    ),
    Row("if with both branches alike", {"if": _A, "then": _B, "else": _B}, _B),
    Row("then tightens", {"if": _A, "then": _B}, {"if": _A, "then": {"required": ["b", "c"]}}, {"a": 1, "b": 1}),
    Row("if narrows", {"if": _A, "then": _B}, {"if": {"required": ["a", "c"]}, "then": _B}, NOTHING, {"a": 1}),
    Row(
        "a condition on a value",
        {"properties": {"k": {"enum": ["x", "y"]}}, "if": {"properties": {"k": {"const": "x"}}}, "then": _A},
        {"if": {"properties": {"k": {"const": "x"}}, "required": ["k"]}, "then": _A},
        NOTHING,
        {},
    ),
    Row(
        "conditions per value, one forgotten",
        _OBJECT
        | {
            "required": ["k"],
            "properties": {"k": {"enum": ["x", "y"]}},
            "if": {"properties": {"k": {"const": "x"}}},
            "then": _A,
        },
        _A,
        {"k": "y"},
        {"a": 1},
    ),
    Row(
        "conditions per value, all",
        _OBJECT
        | {
            "required": ["k"],
            "properties": {"k": {"enum": ["x", "y"]}},
            "allOf": [
                {"if": {"properties": {"k": {"const": "x"}}}, "then": _A},
                {"if": {"properties": {"k": {"const": "y"}}}, "then": _A},
            ],
        },
        _A,
        NOTHING,
        {"a": 1},
    ),
    Row("conditions and one type", {"if": {"type": "object"}, "then": _A, "else": False}, _OBJECT | _A),
    Row(
        "a pattern of names by two branches",
        {"anyOf": [{"patternProperties": {"^a": _INTEGER}}, {"patternProperties": {"^a": _STRING}}]},
        {"patternProperties": {"^a": {"type": ["integer", "string"]}}},
        NOTHING,
        {"a": 1, "aa": ""},
    ),
    Row(
        "many branches, one lost",
        {"anyOf": [{"const": n} for n in range(40)]},
        {"anyOf": [{"const": n} for n in range(39)]},
        39,
    ),
    Row(
        "many alternatives at once",
        {"allOf": [{"anyOf": [{"required": [f"a{n}"]}, {"required": [f"b{n}"]}]} for n in range(8)]},
        {"anyOf": [{"required": ["a0"]}, {"required": ["b0"]}]},
        NOTHING,
        {"a0": 1},
    ),
    Row(
        "a disjunction distributes",
        {"allOf": [_STRING, {"anyOf": [{"maxLength": 1}, {"minLength": 3}]}]},
        {"anyOf": [_STRING | {"maxLength": 1}, _STRING | {"minLength": 3}]},
    ),
    Row("anyOf of what cannot be", {"anyOf": [{"type": "string", "minLength": 2, "maxLength": 1}, _INTEGER]}, _INTEGER),
    Row(
        "properties in two places of allOf",
        {"allOf": [{"properties": {"a": {"minimum": 0}}}, {"properties": {"a": _INTEGER}}]},
        {"properties": {"a": _INTEGER | {"minimum": 0}}},
    ),
    Row("nullable by anyOf", {"anyOf": [_STRING, {"type": "null"}]}, {"type": ["string", "null"]}),
    Row(
        "nullable by oneOf with an enum",
        {"oneOf": [{"enum": ["a", "b"]}, {"type": "null"}]},
        {"enum": ["a", "b", None]},
    ),
]
