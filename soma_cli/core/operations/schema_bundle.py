"""One self-contained schema of a file and the files that it refers to.

Each file is put whole below `definitions` of the first one, and every `$ref` is written anew to lead there; files may
refer to each other in circles. Nothing is read here: documents come from a function, by their paths or addresses.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from soma_cli.core.errors import InputRejected, NotFound
from soma_cli.core.operations.schema_places import Place, Tokens, at, children, named_places, pointed
from soma_cli.core.serialization import json_pointer

Read = Callable[[str], Any]
"""The JSON of a file, or of an address. Raises NotFound."""

_FILES = 1000
"""That one schema may consist of; an address could lead to the next one for ever."""
_STEPS = 2_000_000
"""From the top of the documents to their sub-schemas, together; the largest schemas in use need a tenth of it."""
_SHOWN = 10
"""Of a circle's places."""


def is_remote(document: str) -> bool:
    return urlsplit(document).scheme in ("http", "https")


class Bundle(NamedTuple):
    """One schema, and where in it each document lies that was put into it."""

    document: Any
    places: dict[str, Tokens]


def bundle(root: str, read: Read, shown: Callable[[str], str] = str) -> Bundle:
    """The document at `root` with all it refers to. It comes back as it is where it names no file.

    `shown` is what people call a file.
    Raises InputRejected for references that lead nowhere, out of what may be read, or in a circle without a schema.
    """
    found = _Search(root, read, shown)
    found.run()
    found.refuse_circles()
    return Bundle(found.documents[root], {}) if found.stands_alone else _joined(root, found)


class _Search:
    """Every sub-schema of every file that is referred to, and where each reference leads. What it takes grows with the
    size of the files, and is bounded."""

    def __init__(self, root: str, read: Read, shown: Callable[[str], str]) -> None:
        self._root, self._read, self._shown = root, read, shown
        self._keys: dict[str, str] = {}
        self._named_places: dict[str, dict[str, Tokens]] = {}
        self._steps = 0
        self.documents: dict[str, Any] = {}
        self.references: dict[Place, Place] = {}
        self.seen: set[Place] = set()
        self.stands_alone = True
        self._add(root)

    def run(self) -> None:
        waiting = [Place(self._root, ())]
        while waiting:
            place = waiting.pop()
            schema = at(self.documents[place.document], place.tokens)
            if place in self.seen or not isinstance(schema, dict):
                continue
            self.seen.add(place)
            if isinstance(schema.get("$ref"), str):
                self.references[place] = target = self._target(place, schema["$ref"])
                waiting += [target, Place(target.document, ())]  # the whole file comes along
            # Also beside a reference, where it says nothing: the validator looks whether references lead somewhere.
            for more in children(schema):
                self._count(place.tokens)
                waiting.append(Place(place.document, place.tokens + more))

    def _add(self, document: str) -> None:
        """Read a document; others may call it by its `$id`."""
        if len(self.documents) >= _FILES:
            raise self._too_much(f"refers to more than {_FILES:,} files")
        read = self.documents[document] = self._read(document)
        if isinstance(read, dict):
            self._keys.setdefault(str(read.get("$id", "")).rstrip("#"), document)

    def _count(self, tokens: Tokens) -> None:
        self._steps += len(tokens) + 1
        if self._steps > _STEPS:
            raise self._too_much("has too many parts, or they are nested too deep")

    def _too_much(self, what: str) -> InputRejected:
        shown = self.named(Place(self._root, ()))
        return InputRejected(f"{shown} {what}", hint="check that it is the schema, not data", code="too_large")

    def named(self, place: Place) -> str:
        shown = self._shown(place.document)
        return f"{shown}#{json_pointer(place.tokens)}" if place.tokens else shown

    def refuse_circles(self) -> None:
        """A reference to a reference and so on, back to the first, says nothing."""
        fine: set[Place] = set()
        for start in self.references:
            way: dict[Place, None] = {}
            place: Place | None = start
            while place is not None and place not in fine:
                if place in way:
                    raise self._circle([*way], place)
                way[place] = None
                place = self.references.get(place)
            fine.update(way)

    def _circle(self, way: list[Place], back: Place) -> InputRejected:
        circle = [*way[way.index(back) :], back]
        if len(circle) > _SHOWN:
            circle = [*circle[: _SHOWN - 1], back]
        return InputRejected(
            f"references lead in a circle, and none of them to a schema: {' -> '.join(map(self.named, circle))}",
            hint="let one of them say what it accepts",
            code="ref_circle",
        )

    def _target(self, place: Place, reference: str) -> Place:
        address, _, fragment = reference.partition("#")
        self.stands_alone = self.stands_alone and not address
        document = self._document(place, reference, address)
        if document not in self.documents:
            try:
                self._add(document)
            except NotFound as error:
                raise self._nowhere(place, reference, error.message) from error
        tokens = self._tokens(document, unquote(fragment))
        if tokens is None:
            raise self._nowhere(place, reference, f"{self._shown(document)} has nothing there")
        return Place(document, tokens)

    def _tokens(self, document: str, fragment: str) -> Tokens | None:
        """Where a fragment leads: a JSON pointer, or the name that a sub-schema's `$id` gives it."""
        if not fragment:
            return ()
        if fragment.startswith("/"):
            return pointed(self.documents[document], fragment)
        if document not in self._named_places:
            self._named_places[document] = named_places(self.documents[document], self._count)
        return self._named_places[document].get(f"#{fragment}")

    def _document(self, place: Place, reference: str, address: str) -> str:
        """The key of the document that a reference leads to."""
        if not address:
            return place.document
        if address in self._keys:
            return self._keys[address]
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


def _joined(root: str, found: _Search) -> Bundle:
    documents = {key: copy.deepcopy(document) for key, document in found.documents.items()}
    definitions = documents[root].get("definitions", {})
    if not isinstance(definitions, dict):
        raise InputRejected(
            f"definitions of {found.named(Place(root, ()))} is no object", hint="mend the schema", code="not_a_schema"
        )
    names: dict[str, Tokens] = {root: (), **_names(root, documents, set(definitions))}
    for place in found.seen:
        schema = at(documents[place.document], place.tokens)
        _refuse_inner_id(found.named(place), place, schema)
        if place.document != root:
            schema.pop("$id", None)
            schema.pop("$schema", None)
    for place, target in found.references.items():
        pointer = json_pointer((*names[target.document], *target.tokens))
        at(documents[place.document], place.tokens)["$ref"] = f"#{quote(pointer, safe='/~!$&()*+,;=:@')}"
    if len(documents) > 1:
        documents[root]["definitions"] = {
            **definitions,
            **{name[-1]: documents[key] for key, name in names.items() if name},
        }
    return Bundle(documents[root], {key: name for key, name in names.items() if name})


def _names(root: str, documents: dict[str, Any], taken: set[str]) -> dict[str, Tokens]:
    """Where each other document goes: below `definitions`, by its file's name."""
    names: dict[str, Tokens] = {}
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
