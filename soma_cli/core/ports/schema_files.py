"""The role that a place with schema files plays: a folder as it is, or as it was in a revision."""

from __future__ import annotations

from typing import Protocol

MAX_SCHEMA_BYTES = 10 << 20
"""Of one file; a schema of 2,000 lines has a hundredth of it."""


class SchemaFiles(Protocol):
    """Files of one folder of schemas. Paths are relative to it, with `/`; a reference may lead out of it with `..`."""

    @property
    def label(self) -> str:
        """What it is, for people: a folder, or a revision."""
        ...

    def paths(self) -> list[str]:
        """The working and the released versions there are, and other `.json` files near them, sorted. Raises UsageError
        where they cannot be read."""
        ...

    def read(self, path: str) -> bytes:
        """The file. Raises NotFound where there is none, UsageError where it cannot be read, InputRejected where it has
        more than MAX_SCHEMA_BYTES."""
        ...

    def shown(self, path: str) -> str:
        """How the file is named to a person: `schemas/memory.event.json`, `main:schemas/memory.event.json`."""
        ...
