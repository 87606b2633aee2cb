"""Schemas that say the same in other words: the same documents are accepted before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.compatibility.places import body, places, put, replaced

_GROUPS = [
    {"properties", "patternProperties", "additionalProperties"},
    {"items", "additionalItems"},
    {"if", "then", "else"},
]
"""Keywords that must stay in one schema."""
_ANNOTATIONS = {"title": "t", "description": "d", "default": 1, "examples": [1], "$comment": "c", "x-unknown": {"a": 1}}

Rewriting = Callable[[Any], Iterator[Any]]


def rewritten(random: Random, schema: Any) -> Any:
    """The same in other words, at a random place; definitions that it needs stand at the root."""
    place = random.choice(list(places(schema)))
    found = list(_all(place.schema))
    new = random.choice(found)
    if random.random() < 0.1 and not _refers(place.schema) and place.path:
        return _extracted(schema, place.path, place.schema)
    return put(schema, place.path, new)


def _all(schema: Any) -> Iterator[Any]:
    for rewriting in REWRITINGS:
        yield from rewriting(body(schema))


def _refers(schema: Any) -> bool:
    return isinstance(schema, dict) and ("$ref" in schema or "$id" in schema)


def _extracted(schema: Any, path: tuple[str | int, ...], part: Any) -> Any:
    definitions = schema.get("definitions", {})
    name = f"moved{len(definitions)}"
    moved = replaced(schema, path, {"$ref": f"#/definitions/{name}"})
    return {**moved, "definitions": {**definitions, name: part}}


def _wrapped(schema: Any) -> Iterator[Any]:
    yield {"allOf": [schema]}
    yield {"anyOf": [schema]}
    yield {"oneOf": [schema]}
    yield {"not": {"not": schema}}
    yield {"allOf": [True, schema]}
    yield {"anyOf": [False, schema, schema]}
    yield {"oneOf": [schema, False]}
    yield {"if": schema, "else": False}
    yield {"if": True, "then": schema}
    yield {"if": False, "then": False, "else": schema}
    yield {"if": {"type": "string"}, "then": schema, "else": schema}


def _annotated(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        yield {**_ANNOTATIONS, **schema}


def _booleans(schema: Any) -> Iterator[Any]:
    if schema is True:
        yield from ({}, {"not": False}, {"minLength": 0}, {"items": True})
    if schema is False:
        yield from ({"not": {}}, {"allOf": [{"type": "string"}, {"type": "null"}]}, {"type": "object", "not": {}})


def _split(schema: Any) -> Iterator[Any]:
    """Each keyword in a schema of its own."""
    if not isinstance(schema, dict) or _refers(schema):
        return
    left = dict(schema)
    parts = []
    for group in [*_GROUPS, *({key} for key in schema)]:
        part = {key: left.pop(key) for key in list(left) if key in group}
        parts += [part] if part else []
    yield {"allOf": parts or [True]}
    yield {"not": {"anyOf": [{"not": part} for part in parts] or [False]}}


def _negated(schema: Any) -> Iterator[Any]:
    """A single keyword by the opposite of its opposite."""
    if not isinstance(schema, dict) or len(schema) != 1:
        return
    ((keyword, value),) = schema.items()
    if keyword == "anyOf":
        yield {"not": {"allOf": [{"not": one} for one in value]}}
    if keyword == "allOf":
        yield {"not": {"anyOf": [{"not": one} for one in value]}}
    if keyword == "oneOf" and len(value) == 2:
        left, right = value
        yield {"anyOf": [{"allOf": [left, {"not": right}]}, {"allOf": [right, {"not": left}]}]}
        yield {"allOf": [{"anyOf": value}, {"not": {"allOf": value}}]}
    if keyword in _OPPOSITES:
        yield {"not": _OPPOSITES[keyword](value)}


_OPPOSITES: dict[str, Callable[[Any], Any]] = {
    "minimum": lambda value: {"type": "number", "exclusiveMaximum": value},
    "maximum": lambda value: {"type": "number", "exclusiveMinimum": value},
    "exclusiveMinimum": lambda value: {"type": "number", "maximum": value},
    "exclusiveMaximum": lambda value: {"type": "number", "minimum": value},
    "minLength": lambda value: {"type": "string", "maxLength": value - 1} if value else False,
    "maxLength": lambda value: {"type": "string", "minLength": value + 1},
    "minItems": lambda value: {"type": "array", "maxItems": value - 1} if value else False,
    "maxItems": lambda value: {"type": "array", "minItems": value + 1},
    "minProperties": lambda value: {"type": "object", "maxProperties": value - 1} if value else False,
    "maxProperties": lambda value: {"type": "object", "minProperties": value + 1},
    "contains": lambda value: {"type": "array", "items": {"not": value}},
    "items": lambda value: (
        {"type": "array", "contains": {"not": value}}
        if not isinstance(value, list)
        else {"type": "array", "not": {"items": value}}
    ),
    "required": lambda names: {"type": "object", "anyOf": [{"properties": {name: False}} for name in names] or [False]},
    "additionalProperties": lambda value: {"type": "object", "not": {"patternProperties": {"": value}}},
    "propertyNames": lambda value: {"type": "object", "not": {"propertyNames": {"allOf": [value]}}},
}


def _values(schema: Any) -> Iterator[Any]:
    if not isinstance(schema, dict):
        return
    rest = {key: value for key, value in schema.items() if key not in ("const", "enum", "type")}
    if "$ref" in schema:
        return
    if "const" in schema and "enum" not in schema:
        yield {key: value for key, value in schema.items() if key != "const"} | {"enum": [schema["const"]]}
    if set(schema) == {"enum"}:
        yield {"anyOf": [{"const": value} for value in schema["enum"]]}
        yield {"enum": schema["enum"][::-1]}
    if isinstance(schema.get("type"), list):
        yield {"anyOf": [{**schema, "type": one} for one in schema["type"]]}
    if schema.get("type") == "integer" and "multipleOf" not in schema:
        yield {**schema, "type": "number", "multipleOf": 1}
    if set(schema) == {"type"} and not rest:
        yield {"not": {"not": {"type": schema["type"]}}}


def _conditions(schema: Any) -> Iterator[Any]:
    if not isinstance(schema, dict) or not {"if"} <= set(schema) <= {"if", "then", "else"}:
        return
    condition, then, other = schema["if"], schema.get("then", True), schema.get("else", True)
    yield {"anyOf": [{"allOf": [condition, then]}, {"allOf": [{"not": condition}, other]}]}
    yield {"allOf": [{"anyOf": [{"not": condition}, then]}, {"anyOf": [condition, other]}]}
    yield {"if": {"not": condition}, "then": other, "else": then}


def _dependencies(schema: Any) -> Iterator[Any]:
    if not isinstance(schema, dict) or set(schema) != {"dependencies"}:
        return
    parts = []
    for name, needed in schema["dependencies"].items():
        then = {"required": needed} if isinstance(needed, list) else needed
        parts.append({"if": {"type": "object", "required": [name]}, "then": then})
    yield {"allOf": parts or [True]}


REWRITINGS: list[Rewriting] = [
    _wrapped,
    _annotated,
    _booleans,
    _split,
    _negated,
    _values,
    _conditions,
    _dependencies,
]
