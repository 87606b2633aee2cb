"""Whether a SQLite file is whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from filelock import FileLock, Timeout

from soma_cli.core.adapters.sqlite import Database
from soma_cli.core.results import Finding


def database_health(check: str, database: Database, hint: str, *, deep: bool) -> Finding:
    """SQLite's own check of the file: its structure, and with `deep` its indexes too. `hint` is for a damaged one.

    Raises DataFolderError where the file is too damaged to be checked.
    """
    with database.reading() as connection:
        complaints = [row[0] for row in connection.execute(f"PRAGMA {'integrity' if deep else 'quick'}_check(3)")]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if complaints != ["ok"]:
        said = "; ".join(" ".join(str(complaint).split()) for complaint in complaints)
        return Finding(check, "error", f"{database.path} is damaged: {said}", hint)
    message = f"{database.path.name} is whole (schema version {version}, SQLite {sqlite3.sqlite_version})"
    return Finding(check, "ok", message)


def is_held(lock_file: Path) -> bool:
    """Whether a process holds the lock. Makes no file."""
    if not lock_file.exists():
        return False
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
