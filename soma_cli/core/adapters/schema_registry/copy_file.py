"""A producer's copy of the registry's schema in a file, for the processes that come after."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

import orjson

from soma_cli.core.eventing.producer_schema import Copy
from soma_cli.core.ports import RegisteredSchema

logger = logging.getLogger("soma")


class CopyFile:
    """Keeps one subject of one registry. A file that cannot be read counts as none; one that cannot be written is told
    of once."""

    def __init__(self, folder: Path, registry: str, subject: str) -> None:
        """`registry` is its address without a password."""
        name = hashlib.sha256(f"{registry}\n{subject}".encode()).hexdigest()[:32]
        self._path = folder / f"schema-{name}.json"
        self._registry, self._subject = registry, subject
        self._told = False

    def recall(self) -> Copy | None:
        try:
            fields = orjson.loads(self._path.read_bytes())
            schema = RegisteredSchema(fields["subject"], fields["version"], fields["id"], fields["schema"])
            asked_at = float(fields["asked_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = isinstance(schema.text, str) and type(schema.version) is int
        return Copy(schema, asked_at) if whole and schema.subject == self._subject else None

    def keep(self, copy: Copy) -> None:
        schema = copy.schema
        fields = {
            "registry": self._registry,
            "subject": schema.subject,
            "version": schema.version,
            "id": schema.id,
            "asked_at": copy.asked_at,
            "schema": schema.text,
        }
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(orjson.dumps(fields))
            temporary.replace(self._path)
        except OSError as error:
            if not self._told:
                logger.warning("no copy of the registry's schema is kept in %s: %s", self._path.parent, error.strerror)
            self._told = True
