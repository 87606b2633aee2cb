"""A schema from its file: read, made self-contained, and known to be one before anything is compared with it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from soma_cli.core.compatibility import refused_schema
from soma_cli.core.errors import InputRejected, NotJson
from soma_cli.core.operations.schema_bundle import bundle, is_remote
from soma_cli.core.operations.schema_places import Tokens
from soma_cli.core.ports import SchemaFiles
from soma_cli.core.serialization import deserialize, json_pointer

Fetch = Callable[[str], bytes]
"""What an address answers; given only where the caller allows that anything is fetched."""

_NO_REGEX = ' is not a "regex"'
_MESSAGE = 300
"""Characters: a validator quotes the value, however long."""


@dataclass(frozen=True, slots=True)
class LoadedSchema:
    """A draft-07 schema that stands alone. `text` is its file, or what was made of it and the files it refers to;
    `parts` are the paths of all of these."""

    name: str
    shown: str
    document: Any
    text: str
    parts: tuple[str, ...] = ()
    places: Mapping[Tokens, str] = field(default_factory=dict)
    """By pointer, what the other files are called that lie there."""

    def origin(self, pointer: str) -> tuple[str, str] | None:
        """The other file that a pointer into the document leads to, and the pointer in it."""
        tokens = tuple(pointer.split("/")[1:])
        for place, shown in self.places.items():
            if tokens[: len(place)] == place:
                return shown, "".join(f"/{token}" for token in tokens[len(place) :])
        return None


def load_schema(files: SchemaFiles, path: str, fetch: Fetch | None = None) -> LoadedSchema:
    """Raises NotFound, UsageError; NotJson or InputRejected for what is no schema, or refers to what it may not."""
    texts: dict[str, str] = {}
    parsed: dict[str, Any] = {}

    def read(place: str) -> Any:
        texts[place] = _text(files, place, fetch, first=shown)
        document = parsed[place] = _parsed(texts[place], _shown(files, place))
        if place != path and isinstance(document, dict) and "$schema" in document:
            checked({"$schema": document["$schema"]}, _shown(files, place))  # it goes where no draft is looked at
        return document

    shown = files.shown(path)
    document, places = bundle(path, read, lambda place: _shown(files, place))
    text = (
        texts[path] if document is parsed[path] else orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
    )
    return LoadedSchema(
        posixpath.basename(path).removesuffix(".json"),
        shown,
        checked(document, shown),
        text,
        tuple(texts),
        {tuple(json_pointer(tokens).split("/")[1:]): _shown(files, key) for key, tokens in places.items()},
    )


def parse_schema(name: str, text: str, shown: str) -> LoadedSchema:
    """A schema from a registry. Raises NotJson, InputRejected."""
    return LoadedSchema(name, shown, checked(_parsed(text, shown), shown), text)


def checked(document: Any, shown: str) -> Any:
    """The document. Raises InputRejected where it is no schema that can be compared; the message says of which file,
    and where in it."""
    try:
        refused_schema(document)
    except InputRejected as error:
        said = error.message.replace(_NO_REGEX, " is no regular expression, or too large a one for the validator")
        said = said if len(said) <= _MESSAGE else f"{said[: _MESSAGE // 2]}…{said[-_MESSAGE // 2 :]}"
        error.message = f"{shown}: {said} (at {error.pointer})" if error.pointer else f"{shown}: {said}"
        raise
    return document


def _text(files: SchemaFiles, place: str, fetch: Fetch | None, first: str) -> str:
    if not is_remote(place):
        data = files.read(place)
    elif fetch is None:
        raise InputRejected(
            f"{first} refers to {place}, and nothing is fetched from elsewhere",
            hint="save it beside the schema and refer to the file, or allow it with --allow-remote",
            code="remote_ref",
        )
    else:
        data = fetch(place)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"{_shown(files, place)} is not UTF-8", hint="write it as JSON in UTF-8") from error


def _parsed(text: str, shown: str) -> Any:
    try:
        document = deserialize(text)
    except NotJson as error:
        error.message = f"{shown}: {error.message}"
        raise
    if isinstance(document, dict | bool):
        return document
    raise InputRejected(
        f"{shown} holds no JSON Schema: it is neither an object nor true or false",
        hint='write an object like {"type": "object"}',
        code="not_a_schema",
    )


def _shown(files: SchemaFiles, place: str) -> str:
    return place if is_remote(place) else files.shown(place)
