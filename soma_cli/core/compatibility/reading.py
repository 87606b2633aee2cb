"""A JSON Schema becomes literals of the algebra."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from soma_cli.core.compatibility.assertions import (
    FALSE,
    TRUE,
    TYPES,
    Additional,
    Algebra,
    Bound,
    Contains,
    Item,
    Items,
    Length,
    Literal,
    MultipleOf,
    Names,
    Opaque,
    Pattern,
    PatternProperty,
    Property,
    Ref,
    Required,
    Scalar,
    Unique,
)
from soma_cli.core.compatibility.documents import Document, Place, Untreated
from soma_cli.core.compatibility.validation import UUID, accepting

FORMATS = frozenset(
    [
        *("date", "time", "date-time", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
        *("uri", "uri-reference", "iri", "iri-reference", "uri-template"),
        *("json-pointer", "relative-json-pointer", "regex"),
    ]
)
"""The formats that the validator knows; every other accepts everything, but for `uuid`, which is soma's own."""
_CONTENT = ("contentEncoding", "contentMediaType")
_NO_CONTENT = "!"
"""A text that is neither base64 nor JSON: what accepts it as content looks at nothing."""
_EXACT_FLOATS = 2**53


def number_of(value: int | float) -> Fraction:
    """A JSON number as the validator takes it: as it is written where it has a fraction, else the float's integer.

    Raises ValueError for what is not finite.
    """
    if isinstance(value, int):
        return Fraction(value)
    if not math.isfinite(value):
        raise ValueError(value)
    return Fraction(value) if abs(value) >= _EXACT_FLOATS else Fraction(repr(value))


def type_name(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    for kind, name in ((int | float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def scalar(value: Any) -> Scalar:
    return number_of(value) if type_name(value) == "number" else value


class Reading:
    """Reads one document. Raises Untreated."""

    def __init__(self, algebra: Algebra, document: Document, origins: dict[Literal, str]) -> None:
        self._algebra = algebra
        self._document = document
        self._origins = origins
        self._read: dict[str, Literal] = {}
        self._open: set[str] = set()
        self._targets: dict[Literal, Place] = {}

    def root(self) -> Literal:
        return self._once(self._document.root)

    def target(self, ref: Literal) -> Literal | None:
        """What a `Ref` of this document stands for; None for a literal that this document does not have."""
        place = self._targets.get(abs(ref))
        return None if place is None else self._once(place)

    def _once(self, place: Place) -> Literal:
        """The schema at a place that can be referred to."""
        if (known := self._read.get(place.pointer)) is not None:
            return known
        if place.pointer in self._open:
            ref = self._algebra.number(Ref(f"{place.base}#{place.pointer}", self._document.closure(place)))
            self._targets[ref] = place
            return ref
        self._document.refuse_loops(place)
        self._open.add(place.pointer)
        try:
            self._read[place.pointer] = literal = self._schema(place)
        finally:
            self._open.discard(place.pointer)
        return literal

    def _schema(self, place: Place) -> Literal:
        schema = place.schema
        if isinstance(schema, bool):
            return TRUE if schema else FALSE
        if "$ref" in schema:
            return self._once(self._document.target(place))
        parts: list[Literal] = []
        for keyword, reader in _READERS:
            if keyword in schema:
                try:
                    part = reader(self, place, schema[keyword])
                except (ValueError, OverflowError) as error:
                    raise Untreated(f"{place.pointer}/{keyword}", f"a number of {keyword} is not finite") from error
                self._origins.setdefault(abs(part), f"{place.pointer}/{keyword}")
                parts.append(part)
        literal = self._algebra.all(parts)
        self._origins.setdefault(abs(literal), place.pointer)
        return literal

    def _several(self, place: Place, keyword: str) -> list[Literal]:
        return [self._schema(place.at(keyword, number)) for number in range(len(place.schema[keyword]))]

    def at_most(self, place: Place, name: str, most: int) -> Literal:
        keyword = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}[name]
        self._origins.setdefault(self._algebra.number(Length(name, most + 1)), f"{place.pointer}/{keyword}")
        return self._algebra.at_most(name, most)

    # One method for each keyword, or for those that have no meaning without each other.

    def type(self, place: Place, names: str | list[str]) -> Literal:
        listed = [names] if isinstance(names, str) else names
        types = {"number" if name == "integer" else name for name in listed}
        parts = [self._algebra.types(types)]
        if "integer" in listed and "number" not in listed:
            parts.append(self._algebra.number(MultipleOf(Fraction(1))))
        return self._algebra.all(parts)

    def enum(self, place: Place, values: list[Any]) -> Literal:
        algebra = self._algebra
        by_type: dict[str, list[Any]] = {}
        for value in values:
            by_type.setdefault(type_name(value), []).append(value)
        parts = [algebra.types(by_type)]
        for name, listed in by_type.items():
            if name in ("array", "object"):
                parts.append(algebra.any([algebra.types(set(TYPES) - {name}), *map(self.equal, listed)]))
            elif name != "null":
                parts.append(algebra.among(name, map(scalar, listed)))
        return algebra.all(parts)

    def const(self, place: Place, value: Any) -> Literal:
        return self.equal(value)

    def equal(self, value: Any) -> Literal:
        """Exactly this value."""
        return equal(self._algebra, value)

    def all_of(self, place: Place, schemas: list[Any]) -> Literal:
        return self._algebra.all(self._several(place, "allOf"))

    def any_of(self, place: Place, schemas: list[Any]) -> Literal:
        return self._algebra.any(self._several(place, "anyOf"))

    def one_of(self, place: Place, schemas: list[Any]) -> Literal:
        return self._algebra.one_of(self._several(place, "oneOf"))

    def denied(self, place: Place, schema: Any) -> Literal:
        return -self._schema(place.at("not"))

    def condition(self, place: Place, schema: Any) -> Literal:
        condition = self._schema(place.at("if"))
        then = self._schema(place.at("then")) if "then" in place.schema else TRUE
        other = self._schema(place.at("else")) if "else" in place.schema else TRUE
        return self._algebra.all([self._algebra.any([-condition, then]), self._algebra.any([condition, other])])

    def minimum(self, place: Place, limit: float) -> Literal:
        return self._algebra.number(Bound(number_of(limit), strict=False, upper=False))

    def maximum(self, place: Place, limit: float) -> Literal:
        return self._algebra.number(Bound(number_of(limit), strict=False, upper=True))

    def exclusive_minimum(self, place: Place, limit: float) -> Literal:
        return self._algebra.number(Bound(number_of(limit), strict=True, upper=False))

    def exclusive_maximum(self, place: Place, limit: float) -> Literal:
        return self._algebra.number(Bound(number_of(limit), strict=True, upper=True))

    def multiple_of(self, place: Place, divisor: float) -> Literal:
        return self._algebra.number(MultipleOf(number_of(divisor)))

    def pattern(self, place: Place, text: str) -> Literal:
        return self._algebra.number(Pattern(text))

    def format(self, place: Place, name: str) -> Literal:
        if name == "uuid":
            return self._algebra.number(Pattern(UUID))
        return self._algebra.number(Opaque(json.dumps({"format": name}))) if name in FORMATS else TRUE

    def content(self, place: Place, name: str) -> Literal:
        """Of one keyword the validator does not look at all values, and of both not as of each."""
        content = json.dumps({key: place.schema[key] for key in _CONTENT if key in place.schema})
        return TRUE if accepting(content)(_NO_CONTENT) else self._algebra.number(Opaque(content))

    def items(self, place: Place, schemas: Any) -> Literal:
        algebra = self._algebra
        if not isinstance(schemas, list):
            return algebra.said_of(Items(0, self._schema(place.at("items"))))
        values = self._several(place, "items")
        parts = [algebra.said_of(Item(number, value)) for number, value in enumerate(values)]
        if "additionalItems" in place.schema:
            parts.append(algebra.said_of(Items(len(values), self._schema(place.at("additionalItems")))))
        return algebra.all(parts)

    def contains(self, place: Place, schema: Any) -> Literal:
        value = self._schema(place.at("contains"))
        return self._algebra.at_least("array", 1) if value == TRUE else self._algebra.number(Contains(value))

    def unique_items(self, place: Place, unique: bool) -> Literal:
        return self._algebra.number(Unique()) if unique else TRUE

    def properties(self, place: Place, schemas: dict[str, Any]) -> Literal:
        said = [Property(name, self._schema(place.at("properties", name))) for name in schemas]
        return self._algebra.all([self._algebra.said_of(node) for node in said])

    def pattern_properties(self, place: Place, schemas: dict[str, Any]) -> Literal:
        said = [PatternProperty(text, self._schema(place.at("patternProperties", text))) for text in schemas]
        return self._algebra.all([self._algebra.said_of(node) for node in said])

    def additional_properties(self, place: Place, schema: Any) -> Literal:
        names = frozenset(place.schema.get("properties", ()))
        patterns = frozenset(place.schema.get("patternProperties", ()))
        value = self._schema(place.at("additionalProperties"))
        return self._algebra.said_of(Additional(names, patterns, value))

    def property_names(self, place: Place, schema: Any) -> Literal:
        return self._algebra.said_of(Names(self._schema(place.at("propertyNames"))))

    def required(self, place: Place, names: list[str]) -> Literal:
        return self._algebra.all([self._algebra.number(Required(name)) for name in names])

    def dependencies(self, place: Place, needs: dict[str, Any]) -> Literal:
        return self._algebra.all([self._dependency(place, name, need) for name, need in needs.items()])

    def _dependency(self, place: Place, name: str, need: Any) -> Literal:
        algebra = self._algebra
        if isinstance(need, list):
            needed = algebra.all([algebra.number(Required(other)) for other in need])
        else:
            needed = self._schema(place.at("dependencies", name))
        elsewhere = algebra.types(set(TYPES) - {"object"})
        return algebra.any([elsewhere, -algebra.number(Required(name)), needed])


def equal(algebra: Algebra, value: Any) -> Literal:
    """Exactly this value."""
    name = type_name(value)
    parts = [algebra.types([name])]
    if name == "array":
        parts += [algebra.at_least("array", len(value)), algebra.at_most("array", len(value))]
        parts += [algebra.said_of(Item(place, equal(algebra, item))) for place, item in enumerate(value)]
    elif name == "object":
        parts += [algebra.number(Required(key)) for key in value]
        parts += [algebra.said_of(Property(key, equal(algebra, member))) for key, member in value.items()]
        parts.append(algebra.said_of(Additional(frozenset(value), frozenset(), FALSE)))
    elif name != "null":
        parts.append(algebra.among(name, [scalar(value)]))
    return algebra.all(parts)


def _at_least(name: str) -> Callable[[Reading, Place, Any], Literal]:
    return lambda reading, place, count: reading._algebra.at_least(name, int(count))


def _at_most(name: str) -> Callable[[Reading, Place, Any], Literal]:
    return lambda reading, place, count: reading.at_most(place, name, int(count))


def _readers() -> Iterator[tuple[str, Callable[[Reading, Place, Any], Literal]]]:
    yield from (("type", Reading.type), ("enum", Reading.enum), ("const", Reading.const))
    yield from (("minimum", Reading.minimum), ("maximum", Reading.maximum), ("multipleOf", Reading.multiple_of))
    yield from (("exclusiveMinimum", Reading.exclusive_minimum), ("exclusiveMaximum", Reading.exclusive_maximum))
    yield from (("minLength", _at_least("string")), ("maxLength", _at_most("string")))
    yield from (("pattern", Reading.pattern), ("format", Reading.format))
    yield from (("contentEncoding", Reading.content), ("contentMediaType", Reading.content))
    yield from (("minItems", _at_least("array")), ("maxItems", _at_most("array")))
    yield from (("items", Reading.items), ("contains", Reading.contains), ("uniqueItems", Reading.unique_items))
    yield from (("minProperties", _at_least("object")), ("maxProperties", _at_most("object")))
    yield from (("required", Reading.required), ("properties", Reading.properties))
    yield from (("patternProperties", Reading.pattern_properties),)
    yield from (("additionalProperties", Reading.additional_properties), ("propertyNames", Reading.property_names))
    yield from (("dependencies", Reading.dependencies), ("allOf", Reading.all_of), ("anyOf", Reading.any_of))
    yield from (("oneOf", Reading.one_of), ("not", Reading.denied), ("if", Reading.condition))


_READERS = tuple(_readers())
