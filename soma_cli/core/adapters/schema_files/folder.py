"""Schema files of a folder as it is now."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES


class FolderFiles:
    """`SchemaFiles` of a folder, or of the folder around one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def label(self) -> str:
        return str(self._folder)

    def paths(self) -> list[str]:
        try:
            found = [*self._folder.glob("*.json"), *self._folder.glob("versions/*/*.json")]
        except OSError as error:
            raise _unreadable(str(self._folder), error) from error
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

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
