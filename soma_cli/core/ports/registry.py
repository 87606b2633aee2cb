"""The role that a schema registry plays."""

from __future__ import annotations

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


class SchemaRegistry(Protocol):
    """Versions of schemas by subject. A version, once registered, never changes.

    Every method may raise ServiceUnavailable (try again) and ConfigurationError (do not).
    """

    def subjects(self) -> list[str]:
        """Names of what is registered, sorted."""
        ...

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """All versions, oldest first; empty where there is no such subject."""
        ...

    def register(self, subject: str, text: str) -> RegisteredSchema:
        """Add a version. The same schema (as JSON, whatever its spaces and order of keys) is not added twice: the
        version that has it is returned. Raises InputRejected where the registry refuses it."""
        ...

    def mode(self, subject: str) -> Mode:
        """The compatibility mode that holds for the subject: its own, or else the registry's."""
        ...

    def set_mode(self, subject: str, mode: Mode) -> None: ...

    def opinion(self, subject: str, text: str) -> Opinion | None:
        """The registry's own verdict against the versions it has; None where it has none to give."""
        ...

    def close(self) -> None: ...
