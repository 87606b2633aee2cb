"""Schemas that surely accept all that another accepts, made from it by one change; and changes of no known effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.compatibility.generator import Generator, distinct
from tests.compatibility.places import DOWN, UP, body, places, put

_ALONE = {
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems", "contains", "minProperties",
    "maxProperties", "required", "propertyNames", "dependencies", "allOf", "anyOf", "oneOf", "not", "then", "else",
    "additionalProperties", "additionalItems",
}  # fmt: skip
"""Keywords whose loss only loosens; without `properties` or a list of items the rest would mean more than before."""
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def related(random: Random, schema: Any) -> tuple[Any, Any]:
    """(tight, loose): the schema and one made from it, in the order in which the first is accepted by the second."""
    sure = [place for place in places(schema) if place.direction in (UP, DOWN)]
    place = random.choice(sure)
    changed = put(schema, place.path, loosened(random, place.schema))
    return (schema, changed) if place.direction == UP else (changed, schema)


def loosened(random: Random, schema: Any) -> Any:
    return random.choice(list(_looser(random, schema)))


def _looser(random: Random, schema: Any) -> Iterator[Any]:
    bare = body(schema)
    other = Generator(random).schema(1)
    yield {"anyOf": [bare, other]}
    yield {"if": other, "then": bare}
    yield {"not": {"allOf": [{"not": bare}, other]}}
    if isinstance(bare, dict) and "$ref" not in bare:
        for keyword, value in bare.items():
            yield from _changed(random, bare, keyword, value)


def _changed(random: Random, schema: dict[str, Any], keyword: str, value: Any) -> Iterator[Any]:
    if keyword in _ALONE:
        yield {key: one for key, one in schema.items() if key != keyword}
    for change in _WIDER.get(keyword, lambda *_: [])(random, value):
        yield {**schema, keyword: change}
    if keyword == "const":
        yield {key: one for key, one in schema.items() if key not in ("const", "enum")} | {
            "enum": _with(random, [value])
        }


def _with(random: Random, values: list[Any]) -> list[Any]:
    return distinct([*values, Generator(random).value()])


def _types(random: Random, value: Any) -> Iterator[Any]:
    listed = value if isinstance(value, list) else [value]
    yield sorted({*listed, random.choice(["null", "string", "number", "object"])})
    if value == "integer":
        yield "number"


def _divisors(_: Random, value: Any) -> Iterator[Any]:
    yield value / 2
    if value % 2 == 0:
        yield value // 2


_WIDER: dict[str, Callable[[Random, Any], Any]] = {
    "type": _types,
    "enum": lambda random, value: [_with(random, value)],
    "multipleOf": _divisors,
    "required": lambda random, value: [value[1:], []],
    "uniqueItems": lambda random, value: [False],
    "allOf": lambda random, value: [value[1:]] if len(value) > 1 else [],
    "anyOf": lambda random, value: [[*value, Generator(random).schema(1)]],
    **{key: lambda random, value: [value - 1] if value >= 1 else [] for key in _LOWER},
    **{key: lambda random, value: [value + 1] for key in _HIGHER},
}


def altered(random: Random, schema: Any) -> Any:
    """One change whose effect is not known: something loosened, narrowed, replaced, or two sub-schemas changed over."""
    place = random.choice(list(places(schema)))
    fresh = Generator(random).schema(1)
    bare = body(place.schema)
    new = random.choice(
        [
            loosened(random, bare),
            loosened(random, bare),
            {"allOf": [bare, fresh]},
            {"oneOf": [bare, fresh]},
            {"not": bare},
            fresh,
            {"if": fresh, "then": bare, "else": Generator(random).schema(1)},
        ]
    )
    return put(schema, place.path, new)
