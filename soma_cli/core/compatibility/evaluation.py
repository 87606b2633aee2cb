"""Whether a literal holds for a value that is known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from soma_cli.core.compatibility.assertions import (
    Additional,
    Algebra,
    All,
    Always,
    Among,
    Assertion,
    Bound,
    Contains,
    Item,
    Items,
    Length,
    Literal,
    MultipleOf,
    Names,
    OneOf,
    Opaque,
    Pattern,
    PatternProperty,
    Property,
    Ref,
    Required,
    Types,
    Unique,
    type_of,
)
from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.equality import key_of
from soma_cli.core.compatibility.numbers import divides
from soma_cli.core.compatibility.reading import number_of, scalar, type_name
from soma_cli.core.compatibility.validation import accepting


class Evaluation:
    """Asks the validator about what only it understands, and nothing else."""

    def __init__(
        self, algebra: Algebra, target: Callable[[Literal], Literal], matches: Callable[[str, str], bool], meter: Meter
    ) -> None:
        self._algebra = algebra
        self._target = target
        self._matches = matches
        self._meter = meter
        self._seen: dict[tuple[Literal, int], tuple[bool, int]] = {}
        self._cost = 0

    def holds(self, literal: Literal, value: Any) -> bool:
        return self.holds_at_cost(literal, value)[0]

    def holds_at_cost(self, literal: Literal, value: Any) -> tuple[bool, int]:
        """Also how many assertions a validator looks at, which remembers nothing of what it has looked at before."""
        self._cost = 0
        try:
            return self._holds(literal, value), self._cost
        finally:
            self._seen.clear()  # it knows values by their addresses

    def _holds(self, literal: Literal, value: Any) -> bool:
        if not isinstance(value, list | dict):
            self._cost += 1
            return self._node_holds(literal, value) == (literal > 0)
        key = (abs(literal), id(value))
        if (known := self._seen.get(key)) is None:
            before = self._cost
            self._cost += 1
            known = self._node_holds(literal, value), self._cost - before
            self._seen[key] = known
        else:
            self._cost += known[1]
        return known[0] == (literal > 0)

    def _node_holds(self, literal: Literal, value: Any) -> bool:
        self._meter.spend_some(1)
        match node := self._algebra[literal]:
            case Always():
                return True
            case All(parts):
                return all(self._holds(part, value) for part in parts)
            case OneOf(parts):
                return sum(self._holds(part, value) for part in parts) == 1
            case Ref():
                return self._holds(self._target(abs(literal)), value)
            case Types(names):
                return type_name(value) in names
        return type_of(node) != type_name(value) or self._assertion_holds(node, value)

    def _assertion_holds(self, node: Assertion, value: Any) -> bool:
        match type_name(value):
            case "array":
                return self._holds_for_array(node, value)
            case "object":
                return self._holds_for_object(node, value)
            case "number" if not isinstance(node, Among):
                return _holds_for_number(node, number_of(value))
        match node:
            case Among(_, values):
                return scalar(value) in values
            case Length(_, least):
                return len(value) >= least
            case Pattern(text):
                return self._matches(text, value)
            case Opaque(schema):
                return accepting(schema)(value)
        raise AssertionError(node)

    def _holds_for_array(self, node: Assertion, value: list[Any]) -> bool:
        match node:
            case Length(_, least):
                return len(value) >= least
            case Item(place, inner):
                return place >= len(value) or self._holds(inner, value[place])
            case Items(start, inner):
                return all(self._holds(inner, item) for item in value[start:])
            case Contains(inner):
                return any(self._holds(inner, item) for item in value)
            case Unique():
                return len({key_of(item) for item in value}) == len(value)
        raise AssertionError(node)

    def _holds_for_object(self, node: Assertion, value: dict[str, Any]) -> bool:
        match node:
            case Length(_, least):
                return len(value) >= least
            case Required(name):
                return name in value
            case Property(name, inner):
                return name not in value or self._holds(inner, value[name])
            case PatternProperty(pattern, inner):
                return all(self._holds(inner, value[name]) for name in value if self._matches(pattern, name))
            case Additional(names, patterns, inner):
                others = [n for n in value if n not in names and not any(self._matches(p, n) for p in patterns)]
                return all(self._holds(inner, value[name]) for name in others)
            case Names(inner):
                return all(self._holds(inner, name) for name in value)
        raise AssertionError(node)


def _holds_for_number(node: Assertion, value: Fraction) -> bool:
    match node:
        case Bound(limit, strict, upper):
            within = value <= limit if upper else value >= limit
            return within and not (strict and value == limit)
        case MultipleOf(divisor):
            return divides(divisor, value)
    raise AssertionError(node)
