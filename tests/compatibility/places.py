"""The places in a schema where a sub-schema stands, and how a change there changes the whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

UP, DOWN, UNKNOWN = 1, -1, 0
"""What a looser sub-schema makes of the whole: looser, tighter, or neither for sure."""

_ONE = ("items", "additionalItems", "contains", "additionalProperties", "propertyNames", "then", "else")
_LISTS = ("items", "allOf", "anyOf")
_MAPS = ("properties", "patternProperties", "dependencies")


class Place(NamedTuple):
    path: tuple[str | int, ...]
    schema: Any
    direction: int


def places(schema: Any, path: tuple[str | int, ...] = (), direction: int = UP) -> Iterator[Place]:
    """Every sub-schema but definitions and what stands beside a $ref, the schema itself first."""
    yield Place(path, schema, direction)
    if not isinstance(schema, dict) or "$ref" in schema:
        return
    for key, value in schema.items():
        yield from _below(key, value, (*path, key), direction)


def _below(key: str, value: Any, path: tuple[str | int, ...], direction: int) -> Iterator[Place]:
    if key == "not":
        yield from places(value, path, -direction)
    elif key == "if":
        yield from places(value, path, UNKNOWN)
    elif key == "oneOf":
        for number, one in enumerate(value):
            yield from places(one, (*path, number), UNKNOWN)
    elif key in _LISTS and isinstance(value, list):
        for number, one in enumerate(value):
            yield from places(one, (*path, number), direction)
    elif key in _MAPS:
        for name, one in value.items():
            if isinstance(one, (dict, bool)):
                yield from places(one, (*path, name), direction)
    elif key in _ONE:
        yield from places(value, path, direction)


def replaced(schema: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy of the schema with something else at the path."""
    if not path:
        return new
    made = copy.copy(schema)
    made[path[0]] = replaced(schema[path[0]], path[1:], new)
    return made


HEAD = ("$schema", "$id", "definitions", "$defs")
"""What stays at the root, whatever becomes of the rest: references go by it."""


def body(schema: Any) -> Any:
    """The schema without its head."""
    if not isinstance(schema, dict):
        return schema
    return {key: value for key, value in schema.items() if key not in HEAD}


def put(schema: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """As `replaced`; a new root has the head of the old one."""
    if path or not isinstance(schema, dict) or not isinstance(new, dict):
        return replaced(schema, path, new)
    return {**new, **{key: value for key, value in schema.items() if key in HEAD}}
