"""One self-contained schema of a file and the files that it refers to.

Each file is put whole below `definitions` of the first one, and every `$ref` is written anew to lead there; files may
refer to each other in circles. Nothing is read here: documents come from a function, by their paths or addresses.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from soma_cli.core.errors import InputRejected, NotFound
from soma_cli.core.serialization import json_pointer

Read = Callable[[str], Any]
"""The JSON of a file, or of an address. Raises NotFound."""

_SCHEMA = ("additionalItems", "additionalProperties", "contains", "else", "if", "not", "propertyNames", "then")
_LISTS = ("allOf", "anyOf", "oneOf")
_MAPS = ("$defs", "definitions", "dependencies", "patternProperties", "properties")


class Place(NamedTuple):
    """A sub-schema: the file or address of its document, and the tokens of the pointer to it."""

    document: str
    tokens: tuple[str, ...]


def is_remote(document: str) -> bool:
    return urlsplit(document).scheme in ("http", "https")


def bundle(root: str, read: Read, shown: Callable[[str], str] = str) -> Any:
    """The document at `root` with all it refers to. It comes back as it is where it names no file.

    `shown` is what people call a file.
    Raises InputRejected for references that lead nowhere, out of what may be read, or in a circle without a schema.
    """
    found = _Search(root, read, shown)
    found.run()
    found.refuse_circles()
    return found.documents[root] if found.stands_alone else _joined(root, found)


class _Search:
    """Every sub-schema of every file that is referred to, and where each reference leads."""

    def __init__(self, root: str, read: Read, shown: Callable[[str], str]) -> None:
        self._root, self._read, self._shown = root, read, shown
        self.documents: dict[str, Any] = {root: read(root)}
        self.references: dict[Place, Place] = {}
        self.seen: set[Place] = set()
        self.stands_alone = True

    def run(self) -> None:
        waiting = [Place(self._root, ())]
        while waiting:
            place = waiting.pop()
            schema = _at(self.documents[place.document], place.tokens)
            if place in self.seen or not isinstance(schema, dict):
                continue
            self.seen.add(place)
            if isinstance(schema.get("$ref"), str):
                self.references[place] = target = self._target(place, schema["$ref"])
                waiting += [target, Place(target.document, ())]  # the whole file comes along
            # Also beside a reference, where it says nothing: the validator looks whether references lead somewhere.
            waiting += [Place(place.document, place.tokens + more) for more in _children(schema)]

    def named(self, place: Place) -> str:
        shown = self._shown(place.document)
        return f"{shown}#{json_pointer(place.tokens)}" if place.tokens else shown

    def refuse_circles(self) -> None:
        """A reference to a reference and so on, back to the first, says nothing."""
        for start in self.references:
            way = [start]
            while (after := self.references.get(way[-1])) is not None:
                if after in way:
                    circle = " -> ".join(map(self.named, [*way[way.index(after) :], after]))
                    raise InputRejected(
                        f"references lead in a circle, and none of them to a schema: {circle}",
                        hint="let one of them say what it accepts",
                        code="ref_circle",
                    )
                way.append(after)

    def _target(self, place: Place, reference: str) -> Place:
        address, _, fragment = reference.partition("#")
        self.stands_alone = self.stands_alone and not address
        document = self._document(place, reference, address)
        if document not in self.documents:
            try:
                self.documents[document] = self._read(document)
            except NotFound as error:
                raise self._nowhere(place, reference, error.message) from error
        tokens = _tokens(self.documents[document], unquote(fragment))
        if tokens is None:
            raise self._nowhere(place, reference, f"{self._shown(document)} has nothing there")
        return Place(document, tokens)

    def _document(self, place: Place, reference: str, address: str) -> str:
        """The key of the document that a reference leads to."""
        if not address:
            return place.document
        for key, document in self.documents.items():
            if isinstance(document, dict) and str(document.get("$id", "")).rstrip("#") == address:
                return key
        parts = urlsplit(address)
        if is_remote(place.document) or is_remote(address):
            return urljoin(place.document, address) if is_remote(place.document) else address
        if parts.scheme or parts.netloc or address.startswith("/"):
            raise self._nowhere(place, reference, "only files beside the schema are read, by their relative paths")
        return posixpath.normpath(posixpath.join(posixpath.dirname(place.document), unquote(parts.path)))

    def _nowhere(self, place: Place, reference: str, why: str) -> InputRejected:
        return InputRejected(
            f"{self.named(place)} refers to {reference!r}: {why}",
            hint="mend the $ref, or add what it leads to",
            code="ref_nowhere",
        )


def _children(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Tokens of the sub-schemas that stand right below."""
    for keyword in _SCHEMA:
        if keyword in schema:
            yield (keyword,)
    for keyword in (*_LISTS, "items"):
        if isinstance(schema.get(keyword), list):
            yield from ((keyword, str(index)) for index in range(len(schema[keyword])))
    if isinstance(schema.get("items"), dict):
        yield ("items",)
    for keyword in _MAPS:
        if isinstance(schema.get(keyword), dict):
            yield from ((keyword, name) for name in schema[keyword])


def _at(document: Any, tokens: tuple[str, ...]) -> Any:
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


def _tokens(document: Any, fragment: str) -> tuple[str, ...] | None:
    """Where a fragment leads: a JSON pointer, or the name that a sub-schema's `$id` gives it."""
    if not fragment:
        return ()
    if not fragment.startswith("/"):
        return next((tokens for tokens, schema in _schemas(document) if schema.get("$id") == f"#{fragment}"), None)
    tokens = tuple(token.replace("~1", "/").replace("~0", "~") for token in fragment[1:].split("/"))
    try:
        _at(document, tokens)
    except LookupError:
        return None
    return tokens


def _schemas(document: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        tokens = waiting.pop()
        schema = _at(document, tokens)
        if isinstance(schema, dict):
            yield tokens, schema
            waiting += [tokens + more for more in _children(schema)]


def _joined(root: str, found: _Search) -> Any:
    documents = {key: copy.deepcopy(document) for key, document in found.documents.items()}
    definitions = documents[root].get("definitions", {})
    if not isinstance(definitions, dict):
        raise InputRejected(
            f"definitions of {found.named(Place(root, ()))} is no object", hint="mend the schema", code="not_a_schema"
        )
    names: dict[str, tuple[str, ...]] = {root: (), **_names(root, documents, set(definitions))}
    for place in found.seen:
        schema = _at(documents[place.document], place.tokens)
        _refuse_inner_id(found.named(place), place, schema)
        if place.document != root:
            schema.pop("$id", None)
            schema.pop("$schema", None)
    for place, target in found.references.items():
        pointer = json_pointer((*names[target.document], *target.tokens))
        _at(documents[place.document], place.tokens)["$ref"] = f"#{quote(pointer, safe='/~!$&()*+,;=:@')}"
    if len(documents) > 1:
        documents[root]["definitions"] = {
            **definitions,
            **{name[-1]: documents[key] for key, name in names.items() if name},
        }
    return documents[root]


def _names(root: str, documents: dict[str, Any], taken: set[str]) -> dict[str, tuple[str, ...]]:
    """Where each other document goes: below `definitions`, by its file's name."""
    names: dict[str, tuple[str, ...]] = {}
    for key in sorted(set(documents) - {root}):
        stem = posixpath.basename(urlsplit(key).path if is_remote(key) else key).removesuffix(".json") or "schema"
        name = next(
            name for n in range(1, len(documents) + len(taken) + 2) if (name := _numbered(stem, n)) not in taken
        )
        taken.add(name)
        names[key] = ("definitions", name)
    return names


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"


def _refuse_inner_id(named: str, place: Place, schema: dict[str, Any]) -> None:
    inner = schema.get("$id")
    if place.tokens and isinstance(inner, str) and not inner.startswith("#") and "$ref" not in schema:
        raise InputRejected(
            f"{named} has an $id of its own, {inner!r}, in a schema that is made of several files",
            hint="put that part into a file of its own, or give it a name that starts with #",
            code="inner_id",
        )
