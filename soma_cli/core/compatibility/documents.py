"""Where a `$ref` leads: base URIs, `$id`s, anchors and JSON pointers of draft-07."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

_IN_PLACE = ("allOf", "anyOf", "oneOf")
_ONE_IN_PLACE = ("not", "if", "then", "else")
_METASCHEMA = "http://json-schema.org/draft-07/schema"
"""The one address that the validator knows by itself."""
_SINGLE = (*_ONE_IN_PLACE, "additionalItems", "additionalProperties", "contains", "propertyNames")
_NAMED = ("properties", "patternProperties", "definitions", "dependencies")


class Untreated(Exception):
    """The schema holds something that the checker does not treat."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.message = message


class Place(NamedTuple):
    """A schema within its document: its base URI, and the JSON pointer to it from the document's root."""

    schema: Any
    base: str
    pointer: str

    def at(self, *tokens: str | int) -> Place:
        schema, pointer = self.schema, self.pointer
        for token in tokens:
            schema = schema[token]
            pointer += "/" + str(token).replace("~", "~0").replace("/", "~1")
        return Place(schema, _base_within(schema, self.base), pointer)


class Document:
    """One self-contained schema. Raises Untreated for a schema that refers to itself in place: it means nothing."""

    def __init__(self, schema: Any) -> None:
        self.root = Place(schema, _base_within(schema, ""), "")
        self._resources: dict[str, Place] = {"": self.root, urldefrag(self.root.base)[0]: self.root}
        self._own: dict[str, tuple[str, list[Place]]] = {}
        self._closures: dict[str, str] = {}
        self._sound: set[str] = set()
        for place in _places(self.root):
            self._register(place)

    def _resource(self, address: str) -> Place | None:
        if address not in self._resources and address == _METASCHEMA:
            from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

            # Its pointers begin with its address: they are no places of this document.
            self._resources[address] = Place(REGISTRY.contents(address), address, f"{address}#")
        return self._resources.get(address)

    def target(self, place: Place) -> Place:
        """Where the `$ref` of this place leads."""
        ref = place.schema["$ref"]
        resource, fragment = urldefrag(urljoin(place.base, ref))
        found = self._resources.get(f"{resource}#{fragment}") or self._resource(resource)
        if found is not None and f"{resource}#{fragment}" in self._resources:
            return found
        if found is None or (fragment and not fragment.startswith("/")):
            raise Untreated(place.pointer, f"the $ref {ref!r} leads to nothing that is known here")
        return self._walk(found, unquote(fragment), place)

    def place_of(self, path: Sequence[str | int]) -> Place:
        """Where a path leads that goes through references; of one that leads out of the document, the last place in it.

        Raises LookupError where it leads nowhere.
        """
        place = self.root
        for token in path:
            if token == "$ref" and _is_ref(place.schema):  # noqa: S105 - a step, no secret
                target = self.target(place)
                if target.pointer[:1] not in ("", "/"):
                    return place.at("$ref")
                place = target
            else:
                place = place.at(token)
        return place

    def closure(self, place: Place) -> str:
        """A digest of the schema at a place and of all that its refs lead to: equal ones mean the same."""
        if place.pointer not in self._closures:
            seen: dict[str, str] = {}
            queue = [place]
            while queue:
                current = queue.pop()
                if current.pointer not in seen:
                    seen[current.pointer], targets = self._own_and_targets(current)
                    queue.extend(targets)
            self._closures[place.pointer] = _digest(sorted(seen.items()))
        return self._closures[place.pointer]

    def _own_and_targets(self, place: Place) -> tuple[str, list[Place]]:
        if place.pointer not in self._own:
            targets = [self.target(found) for found in _places(place) if _is_ref(found.schema)]
            self._own[place.pointer] = _digest([place.base, place.schema]), targets
        return self._own[place.pointer]

    def refuse_loops(self, place: Place) -> None:
        """Raise Untreated where a schema refers to itself without a step into the value."""
        path: dict[str, None] = {}
        stack: list[tuple[str, Iterator[Place]]] = [(place.pointer, iter([place]))]
        while stack:
            current = next(stack[-1][1], None)
            if current is None:
                done = stack.pop()[0]
                path.pop(done, None)
                self._sound.add(done)
            elif current.pointer in path:
                raise Untreated(current.pointer, "the schema refers to itself without a step into the value")
            elif current.pointer not in self._sound:
                path[current.pointer] = None
                stack.append((current.pointer, self._in_place(current)))

    def _in_place(self, place: Place) -> Iterator[Place]:
        """The schemas that the same value is asked about."""
        schema = place.schema
        if _is_ref(schema):
            yield self.target(place)
        elif isinstance(schema, dict):
            for keyword in _IN_PLACE:
                yield from (place.at(keyword, number) for number in range(len(schema.get(keyword, ()))))
            yield from (place.at(keyword) for keyword in _ONE_IN_PLACE if keyword in schema)
            for name in schema.get("dependencies", ()):
                if not isinstance(schema["dependencies"][name], list):
                    yield place.at("dependencies", name)

    def _register(self, place: Place) -> None:
        name = place.schema.get("$id") if isinstance(place.schema, dict) and not _is_ref(place.schema) else None
        if not isinstance(name, str):
            return
        resource, fragment = urldefrag(place.base if not name.startswith("#") else urljoin(place.base, name))
        self._resources.setdefault(f"{resource}#{fragment}" if fragment else resource, place)

    def _walk(self, start: Place, pointer: str, ref: Place) -> Place:
        place = start
        for token in pointer.split("/")[1:]:
            key: str | int = token.replace("~1", "/").replace("~0", "~")
            if isinstance(place.schema, list):
                key = int(key) if str(key).isdecimal() else -1
            try:
                place = place.at(key)
            except (KeyError, IndexError, TypeError) as error:
                raise Untreated(ref.pointer, f"the $ref {ref.schema['$ref']!r} leads nowhere") from error
        return place


def _base_within(schema: Any, base: str) -> str:
    name = schema.get("$id") if isinstance(schema, dict) and not _is_ref(schema) else None
    return urljoin(base, name) if isinstance(name, str) and not name.startswith("#") else base


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _is_ref(schema: Any) -> bool:
    return isinstance(schema, dict) and isinstance(schema.get("$ref"), str)


def _places(start: Place) -> Iterator[Place]:
    """A schema and all schemas inside it, refs not followed."""
    queue = [start]
    while queue:
        place = queue.pop()
        yield place
        schema = place.schema
        if not isinstance(schema, dict):
            continue
        if _is_ref(schema):  # its siblings mean nothing, but other refs may lead there
            schema = {keyword: schema[keyword] for keyword in ("definitions",) if keyword in schema}
        queue.extend(place.at(keyword) for keyword in _SINGLE if keyword in schema)
        for keyword in (*_IN_PLACE, "items"):
            if isinstance(schema.get(keyword), list):
                queue.extend(place.at(keyword, number) for number in range(len(schema[keyword])))
            elif keyword in schema:
                queue.append(place.at(keyword))
        for keyword in _NAMED:
            if isinstance(schema.get(keyword), dict):
                queue.extend(place.at(keyword, name) for name in schema[keyword])
