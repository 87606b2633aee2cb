"""The engine's exceptions and panics in soma's words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soma_cli.core.adapters.data_folder import folder_error
from soma_cli.core.errors import DataFolderError, ServiceUnavailable, SomaError

REBUILD = "the log holds everything: `soma replay --into vector --execute` rebuilds the index"

_SYSTEM = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Permission denied": errno.EACCES,
    "Read-only file system": errno.EROFS,
    "Too many open files": errno.EMFILE,
}


@contextmanager
def engine_errors(path: Path, *, query: bool = False) -> Iterator[None]:
    """Raises ServiceUnavailable, ConfigurationError (both of the system's making) or DataFolderError instead.

    In a `query` what fails may be the query as well as the data, so that the index is not called corrupt: SomaError.
    """
    try:
        yield
    except (SomaError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Exception as error:
        raise _translated(path, error, query) from error
    except BaseException as error:
        if is_panic(error):
            raise _translated(path, error, query) from error
        raise


def is_panic(error: BaseException) -> bool:
    """Whether the engine's Rust code panicked; the exception it raises then is no `Exception`."""
    return type(error).__name__ == "PanicException"


def corrupt(path: Path, why: str) -> DataFolderError:
    return DataFolderError(f"the search index {path} is not usable: {why}", hint=REBUILD, code="index_corrupt")


def _translated(path: Path, error: BaseException, query: bool) -> SomaError:
    said = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return folder_error(path, error)
    if "WouldBlock" in said:
        return ServiceUnavailable(
            f"the search index {path} is open in another program",
            hint="close what holds it and try again",
            code="index_busy",
        )
    for text, number in _SYSTEM.items():
        if text in said:
            return folder_error(path, OSError(number, text))
    why = said.splitlines()[0] if said else type(error).__name__
    return _failed_query(path, why) if query else corrupt(path, why)


def _failed_query(path: Path, why: str) -> SomaError:
    return SomaError(
        f"the search index {path} failed on this query: {why}",
        hint=f"if it fails on every query, it may be damaged; {REBUILD}",
        code="index_query",
    )
