"""Random schemas over a small vocabulary, so that their keywords meet.

Everything is drawn from the `random.Random` that is given: the same seed makes the same schema.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

NAMES = ["a", "b", "ab", "c"]
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
PATTERNS = ["^a", "b$", "^[ab]*$", "^a?$", "a", "^ab$", "^(a|b)+$", "[0-9]", "^[a-c]{2}$", "^.$", "^a{1,2}b?$"]
FORMATS = ["date", "date-time", "uuid", "email", "ipv4", "x-unknown"]
SCALARS: list[Any] = [None, True, False, 0, 1, 2, -1, 0.5, 1.0, 3, "", "a", "b", "ab", "aab", "2024-01-01"]
NUMBERS: list[Any] = [-1, 0, 1, 2, 3, 5, 0.5, 1.5, 2.0]
DIVISORS: list[Any] = [1, 2, 3, 4, 6, 0.5, 1.5]

Schema = Any


class Generator:
    """Schemas up to a depth. `references` names the definitions that a schema may refer to from below a property or
    an item, where a recursion comes to an end."""

    def __init__(self, random: Random, references: tuple[str, ...] = ()) -> None:
        self.random = random
        self._references = references

    def document(self, depth: int) -> Schema:
        """A schema, sometimes with definitions that refer to each other."""
        if self.random.random() < 0.75:
            return Generator(self.random).schema(depth)
        names = ("A", "B")
        within = Generator(self.random, names)
        definitions = {name: within.schema(max(1, depth - 1)) for name in names}
        root = within.schema(depth)
        if not isinstance(root, dict) or "$ref" in root or self.random.random() < 0.3:
            root = {"$ref": f"#/definitions/{self.random.choice(names)}"}
        return root | {"definitions": definitions}

    def schema(self, depth: int, below: bool = False, kind: str | None = None) -> Schema:
        """`below`: in a property or an item, where a reference may stand. `kind`: the type that most of it is about."""
        if self.random.random() < 0.05:
            return self.random.random() < 0.6
        if below and self._references and self.random.random() < 0.3:
            return {"$ref": f"#/definitions/{self.random.choice(self._references)}"}
        kind = kind or self.random.choice(TYPES if depth else TYPES[:5])
        made: dict[str, Any] = {}
        if self.random.random() < 0.6:
            made["type"] = self._type(kind)
        for _ in range(self.random.choice([1, 1, 2, 2, 3])):
            made |= self.random.choice(self._parts(kind, depth))(depth)
        return made

    def _type(self, kind: str) -> Any:
        return sorted({kind, self.random.choice(TYPES)}) if self.random.random() < 0.25 else kind

    def _parts(self, kind: str, depth: int) -> list[Callable[[int], dict[str, Any]]]:
        """What a schema of the kind is made of: its own keywords mostly, then those for any value."""
        own: dict[str, list[Callable[[int], dict[str, Any]]]] = {
            "integer": [self._numbers],
            "number": [self._numbers],
            "string": [self._strings],
            "array": [self._sizes, *([self._array] * 2 if depth else [])],
            "object": [self._sizes, *([self._object, self._object, self._names] if depth else [])],
        }
        deep = [self._combination, self._combination, self._condition] if depth else []
        return [*own.get(kind, [self._values]) * 2, self._values, self._numbers, self._strings, self._sizes, *deep]

    def _values(self, _: int) -> dict[str, Any]:
        if self.random.random() < 0.3:
            return {"const": self.value()}
        return {"enum": distinct([self.value() for _ in range(self.random.randint(1, 5))])}

    def value(self, depth: int = 1) -> Any:
        """A JSON value."""
        roll = self.random.random()
        if depth == 0 or roll < 0.75:
            return self.random.choice(SCALARS)
        if roll < 0.87:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 3))]
        return {name: self.value(depth - 1) for name in self.random.sample(NAMES, self.random.randint(0, 2))}

    def _numbers(self, _: int) -> dict[str, Any]:
        keywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
        chosen = self.random.sample(keywords, self.random.choice([1, 1, 2]))
        return {name: self.random.choice(DIVISORS if name == "multipleOf" else NUMBERS) for name in chosen}

    def _strings(self, _: int) -> dict[str, Any]:
        roll = self.random.random()
        if roll < 0.5:
            return {"pattern": self.random.choice(PATTERNS)}
        if roll < 0.65:
            return {"format": self.random.choice(FORMATS)}
        return {self.random.choice(["minLength", "maxLength"]): self.random.randint(0, 3)}

    def _sizes(self, _: int) -> dict[str, Any]:
        name = self.random.choice(["minItems", "maxItems", "minProperties", "maxProperties", "uniqueItems", "required"])
        if name == "uniqueItems":
            return {name: True}
        if name == "required":
            return {name: self.random.sample(NAMES, self.random.randint(1, 2))}
        return {name: self.random.randint(0, 3)}

    def _array(self, depth: int) -> dict[str, Any]:
        roll = self.random.random()
        if roll < 0.4:
            return {"items": self.schema(depth - 1, True)}
        if roll < 0.6:
            return {"contains": self.schema(depth - 1, True)}
        made: dict[str, Any] = {"items": [self.schema(depth - 1, True) for _ in range(self.random.randint(1, 2))]}
        return made | ({"additionalItems": self.schema(depth - 1, True)} if roll < 0.85 else {})

    def _object(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        names = self.random.sample(NAMES, self.random.randint(1, 3))
        if self.random.random() < 0.8:
            made["properties"] = {name: self.schema(depth - 1, True) for name in names}
        if self.random.random() < 0.25:
            made["patternProperties"] = {self.random.choice(PATTERNS): self.schema(depth - 1, True)}
        if self.random.random() < 0.4:
            made["additionalProperties"] = self.random.random() < 0.3 or (
                self.random.random() < 0.5 and self.schema(depth - 1, True)
            )
        return made | ({"required": [names[0]]} if self.random.random() < 0.4 else {})

    def _names(self, depth: int) -> dict[str, Any]:
        if self.random.random() < 0.5:
            return {"propertyNames": Generator(self.random).schema(min(1, depth - 1))}
        name, other = self.random.sample(NAMES, 2)
        return {"dependencies": {name: [other] if self.random.random() < 0.5 else self.schema(depth - 1)}}

    def _combination(self, depth: int) -> dict[str, Any]:
        kind = self.random.choice(TYPES)
        name = self.random.choice(["allOf", "anyOf", "oneOf", "not"])
        if name == "not":
            return {name: self.schema(depth - 1, kind=kind)}
        return {name: [self.schema(depth - 1, kind=kind) for _ in range(self.random.randint(1, 3))]}

    def _condition(self, depth: int) -> dict[str, Any]:
        made = {"if": self.schema(depth - 1), "then": self.schema(depth - 1)}
        return made | ({"else": self.schema(depth - 1)} if self.random.random() < 0.5 else {})


def distinct(values: list[Any]) -> list[Any]:
    """An enum may hold no value twice; 1 and 1.0 are one, 1 and true are two."""
    return list({_key(value): value for value in values}.values())


def _key(value: Any) -> Any:
    """Equal for what JSON Schema calls equal."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, dict)):
        return type(value).__name__, value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, list):
        return "array", tuple(_key(item) for item in value)
    return "object", frozenset((name, _key(item)) for name, item in value.items())
