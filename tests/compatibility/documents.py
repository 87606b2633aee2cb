"""Documents that come close to a schema: made from its own keywords, then changed a little."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.compatibility.generator import NAMES, SCALARS, Generator

_STRINGS = ["", "a", "b", "aa", "ab", "ba", "aab", "abb", "abc", "x", "1", "a\n", "2024-01-01", "é"]
_KEYS = {"properties", "patternProperties", "required", "additionalProperties", "propertyNames", "minProperties"}
_ITEMS = {"items", "contains", "minItems", "uniqueItems"}
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


class Documents:
    """Documents for a schema; definitions are looked up at its root."""

    def __init__(self, random: Random, root: Any) -> None:
        self._random = random
        self._definitions = root.get("definitions", {}) if isinstance(root, dict) else {}
        self._root = root

    def some(self, number: int) -> Iterator[Any]:
        for _ in range(number):
            made = self._of(self._root, 4)
            yield made
            yield changed(self._random, made)

    def _of(self, schema: Any, depth: int) -> Any:
        roll = self._random.random()
        if not isinstance(schema, dict) or depth == 0 or roll < 0.05:
            return Generator(self._random).value(min(depth, 2))
        if "$ref" in schema:
            return self._of(self._definitions.get(schema["$ref"].removeprefix("#/definitions/"), self._root), depth - 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema and roll < 0.9:
            return self._random.choice(schema["enum"])
        deeper = [one for key in ("allOf", "anyOf", "oneOf") for one in schema.get(key, [])]
        deeper += [schema[key] for key in ("then", "else", "if", "not") if key in schema]
        if deeper and roll < (0.5 if len(schema) > 1 else 0.95):
            return self._of(self._random.choice(deeper), depth - 1)
        return self._of_kind(self._kind(schema), schema, depth)

    def _kind(self, schema: dict[str, Any]) -> str:
        if "type" in schema:
            named = schema["type"]
            return str(self._random.choice(named) if isinstance(named, list) else named)
        kinds = ["array"] * bool(_ITEMS & set(schema)) + ["object"] * bool(_KEYS & set(schema))
        kinds += ["number"] * any(key in schema for key in _LIMITS)
        return self._random.choice(kinds or ["null", "boolean", "integer", "number", "string", "array", "object"])

    def _of_kind(self, kind: str, schema: dict[str, Any], depth: int) -> Any:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("number", "integer"):
            return self._number(schema, kind)
        if kind == "string":
            return self._random.choice(_STRINGS)
        return None if kind == "null" else self._random.random() < 0.5

    def _number(self, schema: dict[str, Any], kind: str) -> Any:
        near = [schema[key] for key in _LIMITS if key in schema] or [0]
        value = self._random.choice(near) + self._random.choice([0, 0, 1, -1, 0.5, -0.5, 2, 6])
        if "multipleOf" in schema and self._random.random() < 0.7:
            value = schema["multipleOf"] * self._random.randint(-3, 6)
        return int(value) if kind == "integer" and self._random.random() < 0.9 else value

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        properties = schema.get("properties", {})
        names = {*schema.get("required", []), *(name for name in properties if self._random.random() < 0.5)}
        while len(names) < schema.get("minProperties", 0):
            names.add(self._random.choice([*NAMES, "d", "e", "ba"]))
        if self._random.random() < 0.3:
            names.add(self._random.choice(NAMES))
        rest = schema.get("additionalProperties", next(iter(schema.get("patternProperties", {}).values()), True))
        return {name: self._of(properties.get(name, rest), depth - 1) for name in sorted(names)}

    def _array(self, schema: dict[str, Any], depth: int) -> Any:
        items = schema.get("items", True)
        first, rest = (items, schema.get("additionalItems", True)) if isinstance(items, list) else ([], items)
        length = self._random.choice([schema.get("minItems", 0), schema.get("maxItems", 2), len(first), 1])
        made = [self._of(first[n] if n < len(first) else rest, depth - 1) for n in range(min(length, 4))]
        if "contains" in schema:
            made.insert(self._random.randint(0, len(made)), self._of(schema["contains"], depth - 1))
        return made


def changed(random: Random, value: Any) -> Any:
    """The value with one thing in it other than before."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        rest = {key: one for key, one in value.items() if key != name}
        return rest if random.random() < 0.4 else {**rest, name: changed(random, value[name])}
    if isinstance(value, dict):
        return {**value, random.choice(NAMES): random.choice(SCALARS)}
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        middle = random.choice([[], [changed(random, value[place])], [value[place]] * 2])
        return value[:place] + middle + value[place + 1 :]
    if isinstance(value, list):
        return [*value, random.choice(SCALARS)]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and random.random() < 0.7:
        return value + random.choice([1, -1, 0.5])
    return random.choice(SCALARS)
