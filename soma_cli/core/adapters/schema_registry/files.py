"""Released versions of schemas as files: `versions/NAME/N.json` of a folder of schemas, for those who need no server.

A subject is a schema's name. A version is one file, written whole under a name that nothing had before, and never
touched again; `versions/NAME/mode` holds the mode where it is not BACKWARD.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import ConfigurationError, InputRejected, UsageError
from soma_cli.core.ports.registry import DEFAULT_MODE, Opinion, RegisteredSchema, VersionsChanged, same_schema
from soma_cli.core.schemas import SchemaFolder, mode_path, released_path, released_versions


class FilesRegistry:
    """`SchemaRegistry` over one folder."""

    def __init__(self, folder: SchemaFolder) -> None:
        self._folder = folder

    def where(self) -> str:
        return str(self._folder.path / "versions")

    def subjects(self) -> list[str]:
        return list(self._released())

    def versions(self, subject: str) -> list[RegisteredSchema]:
        return [self._version(subject, number) for number in self._released().get(subject, [])]

    def latest(self, subject: str) -> RegisteredSchema | None:
        numbers = self._released().get(subject)
        return self._version(subject, numbers[-1]) if numbers else None

    def register(self, subject: str, text: str, after: int | None = None) -> RegisteredSchema:
        self._check_writable()
        while True:
            there = self.versions(subject)
            for version in reversed(there):
                if same_schema(version.text, text):
                    return version
            last = there[-1].version if there else 0
            if after not in (None, last):
                raise VersionsChanged
            if self._write_new(released_path(subject, last + 1), text):
                return RegisteredSchema(subject, last + 1, None, text)

    def mode(self, subject: str) -> Mode:
        path = self._folder.path / mode_path(subject)
        with _reading(path):
            text = path.read_text(encoding="utf-8").strip() if path.exists() else DEFAULT_MODE.value
        if text not in list(Mode):
            raise ConfigurationError(
                f"{path} says {text[:40]!r}, which is no compatibility mode",
                hint=f"write one of {', '.join(Mode)} into it",
                code="schema_mode",
            )
        return Mode(text)

    def set_mode(self, subject: str, mode: Mode) -> None:
        self._check_writable()
        path = self._folder.path / mode_path(subject)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = _written(path, f"{mode}\n")
            temporary.replace(path)
            _sync(path.parent)

    def opinion(self, subject: str, text: str) -> Opinion | None:
        return None  # files have none

    def close(self) -> None:
        """Nothing is held open."""

    def _released(self) -> dict[str, list[int]]:
        root = self._folder.path
        return released_versions(path.relative_to(root).as_posix() for path in root.glob("versions/*/*.json"))

    def _version(self, subject: str, number: int) -> RegisteredSchema:
        path = self._folder.path / released_path(subject, number)
        with _reading(path):
            return RegisteredSchema(subject, number, None, path.read_bytes().decode())

    def _write_new(self, name: str, text: str) -> bool:
        """Whether the file was made: False where another process was faster."""
        path = self._folder.path / name
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = _written(path, text)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            _sync(path.parent)
        return True

    def _check_writable(self) -> None:
        if self._folder.origin == "shipped":
            raise UsageError(
                f"the schemas in {self._folder.path} ship with soma, and are not released here",
                hint="give the folder of your own schemas with --schemas, or set registry.folder",
            )


def _written(path: Path, text: str) -> Path:
    """A file beside `path` that has the text, on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputRejected(f"{path} is not UTF-8", hint="write it as JSON in UTF-8", code="not_json") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="check its permissions") from error
