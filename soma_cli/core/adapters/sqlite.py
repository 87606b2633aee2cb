"""What the SQLite adapters share: connections, migrations, named queries, and errors in soma's words."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from soma_cli.core.adapters.data_folder import folder_error
from soma_cli.core.errors import (
    ConfigurationError,
    DataFolderError,
    OutOfSpace,
    ServiceUnavailable,
    SomaError,
    ValueRefused,
)

BUSY_TIMEOUT_S = 60.0
"""How long a write waits for other processes' writes. Theirs take milliseconds; this is for a machine that stalls."""

PAGE_BYTES = 16384
"""Of files made from now on. Events are of about a kilobyte: pages of 4096 bytes were written half again as slowly."""
CHECKPOINT_PAGES = 2000
"""Pages in the write-ahead log before they are moved to the file: 32 MB. SQLite's 1000 syncs the file too often."""


class _Handle:
    """A thread's connection: closed when the thread ends and its local values go."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """One SQLite file, used by any number of threads and processes: a connection for each thread, WAL mode.

    `durable` = every commit is synced to disk before it returns (`synchronous=FULL`); else a power cut, though not a
    crash of the process, may take back the newest commits.
    """

    def __init__(self, path: Path, migrations: Path, setup_lock: FileLock, *, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self._local = threading.local()
        self._open: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._guard = threading.Lock()
        try:
            with translated(path):
                _migrate(self.connection, path, migrations, setup_lock)
        except OSError as error:  # of the lock's file
            self.close()
            raise folder_error(path.parent, error) from error
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: _Handle | None = getattr(self._local, "handle", None)
        if found is None:
            found = self._local.handle = _Handle(self._connect())
            with self._guard:
                self._open.add(found)
        return found.connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
            connection.execute("PRAGMA cache_size=-16000")
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path):
            yield self.connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, taken at once, so that it never fails half-way for want of the lock.

        Inside another one on the same thread it is part of that one.
        """
        with translated(self.path):
            connection = self.connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._guard:
            handles, self._open = list(self._open), weakref.WeakSet()
        for handle in handles:
            handle.connection.close()
        self._local = threading.local()


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Path, setup_lock: FileLock) -> None:
    """Bring the file to the newest schema, whatever version it has; refuse one from the future."""
    steps = sorted(migrations.glob("*.sql"))
    if _schema_version(connection) == len(steps):
        return
    with setup_lock:
        found = _schema_version(connection)
        if found > len(steps):
            raise DataFolderError(
                f"{path} has schema version {found}; this soma knows versions up to {len(steps)}",
                hint="upgrade soma, or name another folder with --data-dir",
                code="data_folder_newer",
            )
        if found == 0:
            # Memories are their owner's alone; SQLite gives its other files the same mode. Never by opening the file
            # ourselves: closing it would drop all locks that SQLite has on it in this process (POSIX).
            with suppress(OSError):
                path.chmod(0o600)
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        for number, step in enumerate(steps[found:], start=found + 1):
            script = step.read_text(encoding="utf-8")
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")


def _schema_version(connection: sqlite3.Connection) -> int:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    assert isinstance(version, int)
    return version


@contextmanager
def translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _in_our_words(path, error) from error
    except OverflowError as error:  # of an integer, before SQLite sees it
        raise ValueRefused(
            f"{path} holds integers of 64 bits: {error}", hint="use a smaller number", code="integer_range"
        ) from error


def _in_our_words(path: Path, error: sqlite3.Error) -> SomaError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL") or name in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"):
        return OutOfSpace(f"no space left to write {path}", hint="free some space and try again; nothing was changed")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return ServiceUnavailable(
            f"{path} was held by other processes for more than {BUSY_TIMEOUT_S:.0f} s", hint="try again", code="busy"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DataFolderError(
            f"{path} is corrupt: {error}",
            hint="`soma doctor` says what can be rebuilt; the log itself must come from a backup",
            code="data_folder_corrupt",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return ConfigurationError(
            f"{path} cannot be written: {error}",
            hint="make the data folder writable, or name another one with --data-dir",
            code="data_folder_unusable",
        )
    if name.startswith("SQLITE_IOERR"):
        return ServiceUnavailable(f"{path}: {error}", hint="check the disk, then try again", code="io_error")
    return SomaError(f"{path}: {error}")
