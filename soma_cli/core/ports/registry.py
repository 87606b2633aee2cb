"""The role that a schema registry plays."""

from __future__ import annotations

import json
from typing import NamedTuple, Protocol

from soma_cli.core.compatibility import Mode


class RegisteredSchema(NamedTuple):
    """One version of a subject. `id` is the registry's number for the text (null where it has none); `text` is the
    schema's JSON as it was registered."""

    subject: str
    version: int
    id: int | None
    text: str


class Opinion(NamedTuple):
    """What the registry itself says of a schema: soma shows it beside its own verdict."""

    compatible: bool
    messages: list[str]


class VersionsChanged(Exception):
    """The last version of the subject is another than the one that a new version was judged against."""


DEFAULT_MODE = Mode.BACKWARD
"""The mode of a subject that soma registers first, and whose registry asks for nothing."""


def same_schema(text: str, other: str) -> bool:
    """Whether two texts are the same JSON, whatever their spaces and the order of their keys."""
    return text == other or _canonical(text) == _canonical(other)


def _canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


class SchemaRegistry(Protocol):
    """Versions of schemas by subject, numbered upwards from 1.

    - versions_never_change: what was registered is read back as it was written, and keeps its number.
    - the_same_schema_is_one_version: registered again, also with other spaces or order of keys, it is not added; the
      version that has it is returned.
    - a_mode_belongs_to_one_subject: it is kept until it is set again, and can be set before there is a version.

    Every method may raise ServiceUnavailable (try again) and ConfigurationError (do not).
    """

    def where(self) -> str:
        """What the registry is called in messages: its address without a password, or its folder."""
        ...

    def subjects(self) -> list[str]:
        """Names of what is registered, sorted."""
        ...

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """All versions, oldest first; empty where there is no such subject."""
        ...

    def latest(self, subject: str) -> RegisteredSchema | None:
        """The last version, by one request where a server is asked; None where there is no such subject."""
        ...

    def register(self, subject: str, text: str, after: int | None = None) -> RegisteredSchema:
        """Add a version. `after` is the last one that it was judged against, 0 for none. Raises VersionsChanged where
        another is the last: always in files, and mostly by a server, which judges again itself. Raises InputRejected
        where the registry refuses it (code `registry_incompatible` where it says that the versions break)."""
        ...

    def mode(self, subject: str) -> Mode:
        """The compatibility mode that holds for the subject: its own, or else the registry's."""
        ...

    def set_mode(self, subject: str, mode: Mode) -> None: ...

    def opinion(self, subject: str, text: str) -> Opinion | None:
        """The registry's own verdict against the versions it has; None where it has none to give."""
        ...

    def close(self) -> None: ...
