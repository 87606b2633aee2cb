"""Whether the data folder can be used: its format, its permissions, the room on its disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from soma_cli.core.adapters.data_folder import format_of
from soma_cli.core.errors import SomaError
from soma_cli.core.results import Finding

LOW_BYTES, FULL_BYTES = 1_000_000_000, 100_000_000
"""Less free space than this is a warning, less than the second an error. Not a percentage: soma's data is small."""


def folder_health(root: Path) -> list[Finding]:
    """Makes nothing."""
    return [_folder(root), *_permissions(root), _space(root)]


def _folder(root: Path) -> Finding:
    try:
        found = format_of(root)
    except SomaError as error:
        return Finding("folder", "error", error.message, error.hint)
    if found is None:
        return Finding("folder", "ok", f"{root}: nothing stored yet; the first `soma store` makes it")
    return Finding("folder", "ok", f"{root} (format {found})")


def _permissions(root: Path) -> list[Finding]:
    """Also reads need to write: SQLite keeps its shared memory beside the files, and reading applies what waits."""
    closed = [path for path in (root, *sorted(root.glob("*.sqlite3"))) if not os.access(path, os.R_OK | os.W_OK)]
    if not closed or not root.exists():
        return []
    message = f"{', '.join(map(str, closed))} cannot be written"
    return [Finding("permissions", "error", message, "make it writable for the user that runs soma")]


def _space(root: Path) -> Finding:
    try:
        free = shutil.disk_usage(_nearest(root)).free
    except OSError as error:
        return Finding("disk", "error", f"the free space cannot be told: {error.strerror}", "check the disk")
    status = "error" if free < FULL_BYTES else "warning" if free < LOW_BYTES else "ok"
    hint = "" if status == "ok" else "free some space, or name a folder on another disk with --data-dir"
    return Finding("disk", status, f"{free / 1e9:,.1f} GB free", hint)


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.exists(folder))  # noqa: PTH110
