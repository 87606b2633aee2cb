"""Where sub-schemas stand in a document, and what leads there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

ONE = ("additionalItems", "additionalProperties", "contains", "else", "if", "not", "propertyNames", "then")
LISTS = ("allOf", "anyOf", "oneOf")
MAPS = ("$defs", "definitions", "dependencies", "patternProperties", "properties")
"""Keywords that hold one schema, lists and maps of them. `items` holds one, or a list."""

Tokens = tuple[str, ...]
"""The parts of a JSON pointer."""


class Place(NamedTuple):
    """A sub-schema: the file or address of its document, and the tokens of the pointer to it."""

    document: str
    tokens: Tokens


def children(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Tokens of the sub-schemas that stand right below."""
    for keyword in ONE:
        if keyword in schema:
            yield (keyword,)
    for keyword in (*LISTS, "items"):
        if isinstance(schema.get(keyword), list):
            yield from ((keyword, str(index)) for index in range(len(schema[keyword])))
    if isinstance(schema.get("items"), dict):
        yield ("items",)
    for keyword in MAPS:
        if isinstance(schema.get(keyword), dict):
            yield from ((keyword, name) for name in schema[keyword])


def at(document: Any, tokens: tuple[str, ...]) -> Any:
    """The value at a pointer. Raises LookupError where there is none."""
    for token in tokens:
        if isinstance(document, list):
            if not (token.isascii() and token.isdigit()):
                raise LookupError(token)
            document = document[int(token)]
        elif isinstance(document, dict):
            document = document[token]
        else:
            raise LookupError(token)
    return document


def pointed(document: Any, pointer: str) -> Tokens | None:
    """The tokens of a JSON pointer that is not empty; None where nothing is there."""
    tokens = tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))
    try:
        at(document, tokens)
    except LookupError:
        return None
    return tokens


def named_places(document: Any, count: Callable[[Tokens], None]) -> dict[str, Tokens]:
    """The sub-schemas that have a name by their `$id`, `#name`. `count` is told of each sub-schema, and may raise."""
    names: dict[str, Tokens] = {}
    waiting: list[tuple[Tokens, Any]] = [((), document)]
    while waiting:
        tokens, schema = waiting.pop()
        if not isinstance(schema, dict):
            continue
        inner = schema.get("$id")
        if isinstance(inner, str) and inner.startswith("#"):
            names.setdefault(inner, tokens)
        for more in children(schema):
            count(tokens)
            waiting.append((tokens + more, at(schema, more)))
    return names
