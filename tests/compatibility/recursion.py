"""Pairs of schemas that refer to themselves in every way that comes to an end, and a pool of nested documents."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.compatibility.loosenings import altered
from tests.compatibility.pair import Case
from tests.compatibility.rewritings import rewritten
from tests.compatibility.universe import truth

_NAMES = ("A", "B", "C")
_SCALARS: list[Any] = [0, 1, "a", "b", None]


def _around(inner: list[Any], few: list[Any]) -> list[Any]:
    """Arrays and objects that hold what is inside."""
    made: list[Any] = [[one] for one in inner] + [{name: one} for name in "ab" for one in inner]
    for one, other in itertools.product(inner[:24], few):
        made += [[one, other], {"a": one, "b": other}, {"a": other, "b": one}]
    return made


def pool() -> list[Any]:
    """Documents that nest up to four deep, the shallow ones first."""
    first = [*_SCALARS, [], {}]
    second = _around(first, first)
    third = _around(second, [0, "a", {}])
    fourth = _around(third[::3], [0])
    return [*first, *second, *third, *fourth, *([one] for one in fourth[::5]), *({"a": one} for one in fourth[::5])]


class _Recursive:
    """Definitions that refer to each other; a reference to itself stands below an item or a property only."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def document(self) -> dict[str, Any]:
        kind = self._exact if self._random.random() < 0.4 else lambda: self._schema(2, below=False)
        made = {name: kind() for name in _NAMES}
        if self._random.random() < 0.5:
            return {"$ref": f"#/definitions/{self._random.choice(_NAMES)}", "definitions": made}
        members = {name: {"$ref": f"#/definitions/{self._random.choice(_NAMES)}"} for name in "ab"}
        return {"type": "object", "required": ["a", "b"], "properties": members, "definitions": made}

    def _schema(self, depth: int, *, below: bool) -> Any:
        roll = self._random.random()
        if below and roll < 0.55:
            return {"$ref": f"#/definitions/{self._random.choice(_NAMES)}"}
        if depth == 0 or roll < 0.12:
            return self._leaf()
        if roll < 0.4:
            return self._combined(depth, below=below)
        return self._container(depth)

    def _exact(self) -> Any:
        """Arrays of one length: which of them have an end is a fixpoint's affair."""
        ways: list[Any] = []
        for _ in range(self._random.randint(1, 3)):
            items = [
                {"$ref": f"#/definitions/{name}"} for name in self._random.choices(_NAMES, k=self._random.randint(1, 2))
            ]
            ways.append({"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)})
        ends = [{"maxProperties": 0, "type": "object"}, {"type": "null"}]
        return {"anyOf": ways + self._random.sample(ends, self._random.choice([0, 0, 1]))}

    def _leaf(self) -> Any:
        kinds = ["integer", "string", "array", "object", "null"]
        leaves = [{"const": 0}, {"enum": [0, "a"]}, {"maxItems": 0}, {"maxProperties": 0}, True, {"minimum": 1}]
        return self._random.choice([{"type": kind} for kind in kinds] + leaves)

    def _combined(self, depth: int, *, below: bool) -> Any:
        name = self._random.choice(["anyOf", "anyOf", "oneOf", "allOf", "not", "if"])
        parts = [self._schema(depth - 1, below=below) for _ in range(3)]
        if name == "if":
            return dict(zip(("if", "then", "else"), parts, strict=True))
        return {name: parts[0] if name == "not" else parts[:2]}

    def _container(self, depth: int) -> dict[str, Any]:
        inner, other = (self._schema(depth - 1, below=True) for _ in range(2))
        made: dict[str, Any] = self._random.choice(
            [
                {"items": inner},
                {"items": [inner], "additionalItems": other},
                {"contains": inner},
                {"items": inner, "contains": other},
                {"properties": {"a": inner}},
                {"properties": {"a": inner, "b": other}},
                {"additionalProperties": inner},
                {"properties": {"a": inner}, "additionalProperties": other},
                {"patternProperties": {"^a": inner}, "additionalProperties": False},
                {"dependencies": {"a": {"properties": {"b": inner}}}},
            ]
        )
        kind = "array" if {"items", "contains"} & set(made) else "object"
        if self._random.random() < 0.75:
            made["type"] = kind
        limits = {"array": ("minItems", "maxItems"), "object": ("minProperties", "maxProperties")}[kind]
        if self._random.random() < 0.4:
            made[self._random.choice(limits)] = self._random.choice([1, 1, 2])
        if kind == "array" and self._random.random() < 0.3:
            made["uniqueItems"] = True
        if kind == "object" and self._random.random() < 0.4:
            made["required"] = [self._random.choice("ab")]
        return made


def recursive(seed: int, pairs: int, documents: list[Any]) -> Iterator[Case]:
    """`witness` is what is found among the documents, if any."""
    for number in range(pairs):
        random = Random(f"recursive/{seed}/{number}")
        first: Any = _Recursive(random).document()
        roll = random.random()
        second = _changed(random, first) if roll < 0.6 else _Recursive(random).document() if roll < 0.8 else False
        pair = (first, second) if second is False or random.random() < 0.5 else (second, first)
        yield Case(f"recursive {seed}/{number}", *pair, truth(documents, *pair))


def _changed(random: Random, schema: dict[str, Any]) -> dict[str, Any]:
    """The same definitions but for one, in which something is changed or said in other words."""
    name = random.choice(_NAMES)
    definition = schema["definitions"][name]
    new = random.choice([altered, rewritten])(random, definition)
    if isinstance(new, dict) and "definitions" in new:
        new = definition
    return {**schema, "definitions": {**schema["definitions"], name: new}}
