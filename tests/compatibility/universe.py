"""Small worlds: schemas with so few documents that the truth is found by asking of each.

`World.schema` accepts exactly `World.documents` (up to equality). Put before any writer's schema by `allOf`, it makes
the question finite: some document of the world is accepted by the writer and refused by the reader, or none is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from tests.compatibility.containers import array_schema, object_schema
from tests.compatibility.generator import Generator
from tests.compatibility.loosenings import altered
from tests.compatibility.pair import NOTHING, Case
from tests.compatibility.rewritings import rewritten
from tests.compatibility.validator import validator


class World(NamedTuple):
    name: str
    schema: dict[str, Any]
    documents: list[Any]


_SCALARS: list[Any] = [None, True, False, 0, 1, 2, "", "a", "b"]
_SCALAR_SCHEMA = {
    "type": ["null", "boolean", "integer", "string"],
    "minimum": 0,
    "maximum": 2,
    "pattern": "^[ab]?$",
}


def _objects(values: list[Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every object with some of the names and one of the values under each."""
    absent = object()
    rows = itertools.product([absent, *values], repeat=len(names))
    return [{name: value for name, value in zip(names, row, strict=True) if value is not absent} for row in rows]


def _arrays(values: list[Any], longest: int) -> list[list[Any]]:
    return [list(row) for length in range(longest + 1) for row in itertools.product(values, repeat=length)]


def _numbers() -> World:
    schema = {"type": "number", "minimum": -2, "maximum": 6, "multipleOf": 0.5}
    return World("numbers", schema, [half / 2 for half in range(-4, 13)] + list(range(-2, 7)))


def _strings() -> World:
    documents = ["".join(row) for row in _arrays(["a", "b"], 3)]
    return World("strings", {"type": "string", "pattern": "^[ab]*$", "maxLength": 3}, documents)


def _array_world() -> World:
    schema = {"type": "array", "items": _SCALAR_SCHEMA, "maxItems": 2}
    return World("arrays", schema, _arrays(_SCALARS, 2))


def _object_world() -> World:
    values = [None, True, 0, 1, "a"]
    schema = {
        "type": "object",
        "properties": {name: {"enum": values} for name in ("a", "b", "ab")},
        "additionalProperties": False,
    }
    return World("objects", schema, _objects(values, ("a", "b", "ab")))


def _mixed() -> World:
    schema = {
        "anyOf": [
            _SCALAR_SCHEMA,
            {"type": "array", "maxItems": 2, "items": {"type": "integer", "minimum": 0, "maximum": 1}},
            {
                "type": "object",
                "propertyNames": {"pattern": "^[ab]$"},
                "additionalProperties": {"type": "string", "pattern": "^a?$"},
            },
        ]
    }
    return World("mixed", schema, [*_SCALARS, *_arrays([0, 1], 2), *_objects(["", "a"], ("a", "b"))])


def _nested() -> World:
    inner = [0, 1, "a", [], [0], [1], {}, {"a": 0}, {"a": 1}]
    inner_schema = {
        "anyOf": [
            {"enum": [0, 1, "a"]},
            {"type": "array", "items": {"enum": [0, 1]}, "maxItems": 1},
            {"type": "object", "properties": {"a": {"enum": [0, 1]}}, "additionalProperties": False},
        ]
    }
    schema = {
        "oneOf": [
            {"type": "array", "items": inner_schema, "maxItems": 2},
            {"type": "object", "properties": {"a": inner_schema, "b": inner_schema}, "additionalProperties": False},
        ]
    }
    return World("nested", schema, [*_arrays(inner, 2), *_objects(inner, ("a", "b"))])


def _long_arrays() -> World:
    schema = {"type": "array", "items": {"enum": [0, 1, True]}, "maxItems": 4}
    return World("long arrays", schema, _arrays([0, 1, True], 4))


def _names() -> World:
    names = ("", "a", "b", "ab", "ba")
    schema = {
        "type": "object",
        "propertyNames": {"enum": [*names]},
        "additionalProperties": {"type": ["integer", "string"], "minimum": 0, "maximum": 0, "pattern": "^x$"},
    }
    return World("names", schema, _objects([0, "x"], names))


WORLDS = [
    _numbers(),
    _strings(),
    _array_world(),
    _object_world(),
    _mixed(),
    _nested(),
    _long_arrays(),
    _names(),
]


def truth(documents: list[Any], writer: Any, reader: Any) -> Any:
    """A document that the writer accepts and the reader refuses, or NOTHING."""
    accepts, reads = validator(writer).is_valid, validator(reader).is_valid
    return next((document for document in documents if accepts(document) and not reads(document)), NOTHING)


_MAKERS: dict[str, Callable[[Random], Any]] = {
    "long arrays": lambda random: array_schema(random, 2),
    "names": lambda random: object_schema(random, 2),
}
_KINDS = {"numbers": "number", "strings": "string", "arrays": "array", "objects": "object"}


def _schema(random: Random, world: World, depth: int) -> Any:
    if world.name in _MAKERS:
        return _MAKERS[world.name](random)
    kind = _KINDS.get(world.name) or random.choice(["array", "object"])
    return Generator(random).schema(depth, kind=kind)


def _pair(random: Random, world: World, depth: int) -> tuple[Any, Any]:
    """A schema for the world and another: made apart from it, or from it by one change or two."""
    first = _schema(random, world, depth)
    if random.random() < 0.4:
        return first, _schema(random, world, depth)
    second = altered(random, first)
    if random.random() < 0.5:
        second = random.choice([altered, rewritten])(random, second)
    return (first, second) if random.random() < 0.5 else (second, first)


def within(world: World, schema: Any) -> Any:
    """The schema for the documents of the world only; its definitions stay at the root."""
    if not isinstance(schema, dict) or "definitions" not in schema:
        return {"allOf": [world.schema, schema]}
    rest = {key: value for key, value in schema.items() if key != "definitions"}
    return {"allOf": [world.schema, rest], "definitions": schema["definitions"]}


def cases(seed: int, pairs: int, depth: int = 2) -> Iterator[Case]:
    """Random pairs, in each world in turn."""
    for number in range(pairs):
        random = Random(f"{seed}/{number}")
        world = WORLDS[number % len(WORLDS)]
        first, reader = _pair(random, world, depth)
        writer = within(world, first)
        yield Case(f"{world.name} {seed}/{number}", writer, reader, truth(world.documents, writer, reader))
