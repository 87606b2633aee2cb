"""Many assertions at once, about arrays or objects of which there are few enough to try them all."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from soma_cli.core.compatibility import check
from soma_cli.core.compatibility.validation import validator

ARRAYS: list[Any] = [list(items) for length in range(5) for items in itertools.product([0, 1, None], repeat=length)]
ARRAY_WORLD = {"type": "array", "items": {"enum": [0, 1, None]}, "maxItems": 4}
NAMES = ["a", "b", "aa", "ab", "ba", "bb"]
OBJECTS: list[Any] = [
    {name: value for name, value in zip(NAMES, values, strict=True) if value != "absent"}
    for values in itertools.product(["absent", 0, 1], repeat=len(NAMES))
]
OBJECT_WORLD = {
    "type": "object",
    "patternProperties": {"^[ab]{1,2}$": {"enum": [0, 1]}},
    "additionalProperties": False,
}


def value(random: Random) -> Any:
    return random.choice(
        [{"const": 0}, {"const": 1}, {"type": "null"}, {"type": "integer"}, {"not": {"const": 0}}, True, False]
    )


def about_arrays(random: Random) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"items": value(random)},
        {"items": [value(random) for _ in range(random.randrange(1, 4))]},
        {"items": [value(random) for _ in range(random.randrange(1, 3))], "additionalItems": value(random)},
        {"contains": value(random)},
        {"contains": value(random)},
        {"minItems": random.randrange(5)},
        {"maxItems": random.randrange(5)},
        {"uniqueItems": True},
    ]
    return random.choice(kinds)


def about_objects(random: Random) -> dict[str, Any]:
    names = random.sample(NAMES, random.randrange(1, 3))
    patterns = random.sample(["^a", "b$", "^b", "a", "^.$"], random.randrange(1, 3))
    kinds: list[dict[str, Any]] = [
        {"properties": {name: value(random) for name in names}},
        {"patternProperties": {pattern: value(random) for pattern in patterns}},
        {"patternProperties": {pattern: value(random) for pattern in patterns}, "additionalProperties": value(random)},
        {"properties": dict.fromkeys(names, True), "additionalProperties": value(random)},
        {"required": names},
        {"minProperties": random.randrange(6)},
        {"maxProperties": random.randrange(6)},
        {
            "propertyNames": random.choice(
                [{"pattern": patterns[0]}, {"enum": names}, {"maxLength": 1}, {"minLength": 2}]
            )
        },
        {"dependencies": {names[0]: random.sample(NAMES, 1)}},
    ]
    return random.choice(kinds)


def together(random: Random, world: dict[str, Any], about: Any) -> dict[str, Any]:
    parts = [about(random) for _ in range(random.randrange(2, 7))]
    return {"allOf": [world, *({"not": part} if random.random() < 0.4 else part for part in parts)]}


@pytest.mark.parametrize(
    ("world", "documents", "about"),
    [(ARRAY_WORLD, ARRAYS, about_arrays), (OBJECT_WORLD, OBJECTS, about_objects)],
    ids=["arrays", "objects"],
)
def test_there_is_a_value_where_one_of_all_is_valid(world: dict[str, Any], documents: list[Any], about: Any) -> None:
    random, empty = Random(1), 0
    for _ in range(1_000):
        schema = together(random, world, about)
        found = next(filter(validator(schema).is_valid, documents), None)
        assert check(schema, False).compatible is (found is None), (schema, found)
        empty += found is None
    assert 200 < empty < 800
