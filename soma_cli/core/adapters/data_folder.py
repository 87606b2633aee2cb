"""The data folder of the embedded profile: where its files lie, and which format they have.

soma.json          the folder's format version
log.sqlite3        the log: the one truth
store.sqlite3      canonical rows, journal, positions
access.sqlite3     access statistics
index/             the search index
members/           one locked file per running worker
cache/             copies of what can be asked for again
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson
from filelock import FileLock

from soma_cli.core.errors import ConfigurationError, DataFolderError, OutOfSpace
from soma_cli.core.instants import format_instant, now_us

FORMAT = 1
"""The folder's format. Raised when files are added, moved or change their meaning; the databases inside it carry
their own schema versions and are migrated one by one."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log.sqlite3"

    @property
    def store(self) -> Path:
        return self.root / "store.sqlite3"

    @property
    def access(self) -> Path:
        return self.root / "access.sqlite3"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def members(self) -> Path:
        return self.root / "members"

    @property
    def marker(self) -> Path:
        return self.root / "soma.json"

    def setup_lock(self) -> FileLock:
        """Held while files are made or migrated, so that two first starts do not race."""
        return FileLock(self.root / ".setup.lock")


def open_data_folder(root: Path) -> DataFolder:
    """The folder, made if absent. Raises DataFolderError where it is no folder of soma's, corrupt or newer."""
    folder = DataFolder(root)
    if _format(folder) == FORMAT:
        return folder
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)  # before anything is written to it, the lock's file included
        with folder.setup_lock():
            if _format(folder) is None:
                _refuse_foreign(folder)
                _refuse_unmarked(folder)
                write_marker(folder)
    except OSError as error:
        raise folder_error(root, error) from error
    return folder


def format_of(root: Path) -> int | None:
    """The format of the folder; None where nothing was made yet. Makes nothing; raises what `open_data_folder` does."""
    folder = DataFolder(root)
    found = _format(folder)
    try:
        if found is None and root.is_dir():
            _refuse_foreign(folder)
            _refuse_unmarked(folder)
    except OSError as error:
        raise folder_error(root, error) from error
    return found


def write_marker(folder: DataFolder) -> None:
    """Write soma.json whole or not at all."""
    replace_file(folder.marker, orjson.dumps({"format": FORMAT, "written_at": format_instant(now_us())}))


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file durably and atomically: readers see the old one or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _format(folder: DataFolder) -> int | None:
    """The format found; None for a folder that has no marker yet. Raises DataFolderError."""
    try:
        marker = orjson.loads(folder.marker.read_bytes())
        found = marker["format"]
        if type(found) is not int:
            raise TypeError
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise folder_error(folder.root, error) from error
    except OSError as error:
        raise folder_error(folder.root, error) from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DataFolderError(
            f"{folder.marker} is not readable as soma's marker file",
            hint="restore the data folder from a backup, or name another one with --data-dir",
            code="data_folder_corrupt",
        ) from error
    if found > FORMAT:
        raise DataFolderError(
            f"the data folder {folder.root} has format {found}; this soma reads formats up to {FORMAT}",
            hint="upgrade soma, or name another folder with --data-dir",
            code="data_folder_newer",
        )
    if found < 1:
        raise DataFolderError(
            f"the data folder {folder.root} has the unknown format {found}",
            hint="restore the data folder from a backup, or name another one with --data-dir",
            code="data_folder_corrupt",
        )
    return found


def _refuse_foreign(folder: DataFolder) -> None:
    names = _content(folder)
    if names and not names & {folder.marker.name, folder.log.name, folder.store.name}:
        raise DataFolderError(
            f"{folder.root} holds other files ({', '.join(sorted(names)[:3])}) and no data of soma's",
            hint="name an empty or a new folder with --data-dir",
            code="data_folder_foreign",
        )


def _refuse_unmarked(folder: DataFolder) -> None:
    if _content(folder):
        raise DataFolderError(
            f"{folder.root} holds soma's data but its marker file {folder.marker.name} is missing",
            hint="restore it from a backup, or name another folder with --data-dir",
            code="data_folder_corrupt",
        )


def _content(folder: DataFolder) -> set[str]:
    """What lies in the folder, but for copies, which producers keep there without making a data folder of it, and for
    what a first start that was interrupted, or is going on, may have left."""
    names = {path.name for path in folder.root.iterdir()}
    return {
        name
        for name in names
        if name not in (".setup.lock", "cache") and not name.startswith(f".{folder.marker.name}.")
    }


def folder_error(root: Path, error: OSError) -> ConfigurationError | OutOfSpace:
    """An operating system's refusal in soma's words."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(f"no space left for the data folder {root}", hint="free some space and try again")
    return ConfigurationError(
        f"the data folder {root} cannot be used: {error.strerror or error}",
        hint="make it writable, or name another folder with --data-dir or SOMA_DATA_DIR",
        code="data_folder_unusable",
    )
