"""Schema files of a folder as it is now."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES

_DEPTH = 3
"""Folders below the one of the schemas in which files are noticed that are no schemas by their place."""
_VERSIONS = re.compile(r"versions/([^/]+/)?")
"""Where released versions lie."""


class FolderFiles:
    """`SchemaFiles` of a folder, or of the folder around one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def label(self) -> str:
        return str(self._folder)

    def paths(self) -> list[str]:
        return sorted(self._below("", _DEPTH))

    def _below(self, prefix: str, depth: int) -> Iterator[str]:
        """Files by their ends: what is a folder or a pipe is refused when it is read."""
        counts = prefix == "" or _VERSIONS.fullmatch(prefix) is not None
        for name, is_folder in _entries(self._folder / prefix, must=counts):
            path = f"{prefix}{name}"
            if name.lower().endswith(".json"):
                yield path
            elif is_folder and (depth > 0 or _VERSIONS.fullmatch(f"{path}/")):
                yield from self._below(f"{path}/", depth - 1)

    def read(self, path: str) -> bytes:
        shown = self.shown(path)
        try:
            with os.fdopen(_opened(self._folder / path), "rb") as file:
                data = file.read(MAX_SCHEMA_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"there is no file {shown}", hint="check the path", code="no_such_file") from error
        except OSError as error:
            raise _unreadable(shown, error) from error
        if len(data) > MAX_SCHEMA_BYTES:
            raise too_large(shown)
        return data

    def shown(self, path: str) -> str:
        return str(self._folder / path)


def _entries(folder: Path, *, must: bool) -> list[tuple[str, bool]]:
    """Names, and whether each is a folder; the hidden ones are left out. Links to folders count where files `must` be
    found there; elsewhere what may not be read is passed over."""
    try:
        with os.scandir(folder) as entries:
            return [(one.name, one.is_dir(follow_symlinks=must)) for one in entries if not one.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        if must:
            raise _unreadable(str(folder), error) from error
        return []


def _opened(path: Path) -> int:
    """Regular files only: a pipe would be waited for, and a device may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file")
    return descriptor


def too_large(shown: str) -> InputRejected:
    return InputRejected(
        f"{shown} has more than {MAX_SCHEMA_BYTES >> 20} MiB, too much for a schema",
        hint="check that it is the schema, not data",
        code="too_large",
    )


def _unreadable(shown: str, error: OSError) -> UsageError:
    return UsageError(f"{shown} cannot be read: {error.strerror or error}", hint="check the path and its permissions")
