"""Random schemas of arrays and of objects whose keywords meet: places, sizes, repetition; names, patterns, sizes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

_ITEMS: list[Any] = [
    {"const": 0}, {"const": 1}, {"const": True}, {"enum": [0, True]}, {"enum": [0, 1]}, {"type": "integer"},
    {"type": "boolean"}, {"minimum": 1}, {"not": {"const": 0}}, True, False, {"enum": [1, True]},
]  # fmt: skip
_VALUES: list[Any] = [{"const": 0}, {"type": "string"}, {"type": "integer"}, True, False, {"maximum": -1}]
_NAMES = ["", "a", "b", "ab", "ba"]
_PATTERNS = ["^a", "b$", "^a$", "a", "^b", "^$", "^.$", "^[ab]{2}$", ""]


def array_schema(random: Random, depth: int) -> Any:
    return _combined(random, depth, array_schema, _array)


def object_schema(random: Random, depth: int) -> Any:
    return _combined(random, depth, object_schema, _object)


def _combined(
    random: Random, depth: int, again: Callable[[Random, int], Any], plain: Callable[[Random], dict[str, Any]]
) -> Any:
    roll = random.random()
    if depth == 0 or roll < 0.5:
        return plain(random)
    if roll < 0.65:
        return {"not": again(random, depth - 1)}
    if roll < 0.72:
        return {key: again(random, depth - 1) for key in ("if", "then", "else")}
    kind = random.choice(["allOf", "allOf", "anyOf", "oneOf"])
    return {kind: [again(random, depth - 1) for _ in range(random.randint(2, 3))]}


def _array(random: Random) -> dict[str, Any]:
    def item() -> Any:
        return random.choice(_ITEMS)

    made: dict[str, Any] = {}
    if random.random() < 0.6:
        made["items"] = item() if random.random() < 0.5 else [item() for _ in range(random.randint(1, 3))]
    if random.random() < 0.3:
        made["additionalItems"] = item()
    if random.random() < 0.5:
        made["contains"] = item()
    if random.random() < 0.5:
        made["uniqueItems"] = True
    for name in ("minItems", "maxItems"):
        if random.random() < 0.25:
            made[name] = random.randint(0, 4)
    return made


def _object(random: Random) -> dict[str, Any]:
    def value() -> Any:
        return random.choice(_VALUES)

    made: dict[str, Any] = {}
    if random.random() < 0.5:
        made["properties"] = {name: value() for name in random.sample(_NAMES, random.randint(1, 3))}
    if random.random() < 0.5:
        made["patternProperties"] = {name: value() for name in random.sample(_PATTERNS, random.randint(1, 2))}
    if random.random() < 0.4:
        made["additionalProperties"] = value()
    if random.random() < 0.3:
        made["propertyNames"] = random.choice([{"pattern": random.choice(_PATTERNS)}, {"maxLength": 1}, {"const": "a"}])
    if random.random() < 0.3:
        made["required"] = random.sample(_NAMES, random.randint(1, 2))
    if random.random() < 0.3:
        name, other = random.sample(_NAMES, 2)
        made["dependencies"] = {
            name: random.choice([[other], False, {"maxProperties": 2}, {"properties": {other: False}}])
        }
    for name in ("minProperties", "maxProperties"):
        if random.random() < 0.3:
            made[name] = random.randint(0, 4)
    return made
