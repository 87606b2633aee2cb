"""The algebra of schemas: typed assertions, conjunction and negation.

A keyword constrains one JSON type and accepts every value of the others. What is said of a value is a *literal*: the
number of a node, negative where the node is denied. So negation costs nothing, a disjunction is a denied conjunction
of denials, and every assertion's dual is its number with the other sign. Equal nodes have equal numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

Literal: TypeAlias = int
Scalar: TypeAlias = bool | Fraction | str

TYPES = ("null", "boolean", "number", "string", "array", "object")
TRUE: Literal = 1
FALSE: Literal = -1


@dataclass(frozen=True, slots=True)
class Always:
    """Accepts everything."""


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one of the parts."""

    parts: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """A schema that refers to itself, directly or not. Schemas with one name and one closure are the same."""

    name: str
    closure: str


@dataclass(frozen=True, slots=True)
class Types:
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Among:
    """A boolean, number or string is one of these."""

    type: str
    values: frozenset[Scalar]


@dataclass(frozen=True, slots=True)
class Bound:
    """A number is at least (or at most: `upper`) the limit, or strictly so."""

    limit: Fraction
    strict: bool
    upper: bool


@dataclass(frozen=True, slots=True)
class MultipleOf:
    divisor: Fraction


@dataclass(frozen=True, slots=True)
class Length:
    """A string, array or object has at least this many characters, items or members."""

    type: str
    least: int


@dataclass(frozen=True, slots=True)
class Pattern:
    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """What only the validator understands of strings: a schema, as JSON, of such keywords alone."""

    schema: str


@dataclass(frozen=True, slots=True)
class Item:
    """The item at this place, if there is one."""

    place: int
    value: Literal


@dataclass(frozen=True, slots=True)
class Items:
    """All items from this place on."""

    start: int
    value: Literal


@dataclass(frozen=True, slots=True)
class Contains:
    value: Literal


@dataclass(frozen=True, slots=True)
class Unique:
    """No two items are equal."""


@dataclass(frozen=True, slots=True)
class Required:
    name: str


@dataclass(frozen=True, slots=True)
class Property:
    """The member of this name, if there is one."""

    name: str
    value: Literal


@dataclass(frozen=True, slots=True)
class PatternProperty:
    pattern: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Additional:
    """All members but those with these names and those that match these patterns."""

    names: frozenset[str]
    patterns: frozenset[str]
    value: Literal


@dataclass(frozen=True, slots=True)
class Names:
    value: Literal


Assertion: TypeAlias = (
    Among | Bound | MultipleOf | Length | Pattern | Opaque
    | Item | Items | Contains | Unique
    | Required | Property | PatternProperty | Additional | Names
)  # fmt: skip
Node: TypeAlias = Always | All | OneOf | Ref | Types | Assertion

_TYPE_OF: dict[type[object], str] = {
    Bound: "number",
    MultipleOf: "number",
    Pattern: "string",
    Opaque: "string",
    Item: "array",
    Items: "array",
    Contains: "array",
    Unique: "array",
    Required: "object",
    Property: "object",
    PatternProperty: "object",
    Additional: "object",
    Names: "object",
}


def type_of(assertion: Assertion) -> str:
    """The type whose values the assertion constrains."""
    return assertion.type if isinstance(assertion, Among | Length) else _TYPE_OF[type(assertion)]


def size_among(literals: dict[Literal, Assertion]) -> Literal:
    """The literal that asks for the greatest length, or else any."""
    lengths = {a.least: literal for literal, a in literals.items() if isinstance(a, Length) and literal > 0}
    return lengths[max(lengths)] if lengths else next(iter(literals), 0)


class Algebra:
    """Gives every node its number, once, and simplifies while it does."""

    def __init__(self) -> None:
        self._nodes: list[Node] = [Always(), Always()]
        self._numbers: dict[Node, Literal] = {Always(): TRUE}

    def __getitem__(self, literal: Literal) -> Node:
        return self._nodes[abs(literal)]

    def number(self, node: Node) -> Literal:
        if (known := self._numbers.get(node)) is None:
            known = self._numbers[node] = len(self._nodes)
            self._nodes.append(node)
        return known

    def all(self, parts: Iterable[Literal]) -> Literal:
        kept: dict[Literal, None] = {}
        for part in parts:
            node = self._nodes[abs(part)]
            for single in node.parts if part > 0 and isinstance(node, All) else (part,):
                if single == FALSE or -single in kept:
                    return FALSE
                if single != TRUE:
                    kept[single] = None
        if len(kept) < 2:
            return next(iter(kept), TRUE)
        return self.number(All(tuple(kept)))

    def any(self, parts: Iterable[Literal]) -> Literal:
        return -self.all([-part for part in parts])

    def one_of(self, parts: list[Literal]) -> Literal:
        kept = [part for part in parts if part != FALSE]
        if len(kept) < 2:
            return kept[0] if kept else FALSE
        return self.number(OneOf(tuple(kept)))

    def types(self, names: Iterable[str]) -> Literal:
        """The value is of one of these types."""
        kept = frozenset(names)
        if len(kept) == len(TYPES):
            return TRUE
        return self.number(Types(kept)) if kept else FALSE

    def said_of(self, node: Item | Items | Property | PatternProperty | Additional | Names) -> Literal:
        """An assertion about parts of a value: none where everything is accepted there."""
        return TRUE if node.value == TRUE else self.number(node)

    def at_least(self, type_name: str, least: int) -> Literal:
        return self.number(Length(type_name, least)) if least > 0 else TRUE

    def at_most(self, type_name: str, most: int) -> Literal:
        """Of the type's values; the others are accepted, as they are by every assertion."""
        return self.any([self.types(set(TYPES) - {type_name}), -self.number(Length(type_name, most + 1))])

    def among(self, type_name: str, values: Iterable[Scalar]) -> Literal:
        return self.number(Among(type_name, frozenset(values)))
