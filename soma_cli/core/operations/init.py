"""Setting up: what is there already, and which epoch the log is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from soma_cli.core.errors import LogReplaced
from soma_cli.core.operations.projections import registered_epoch
from soma_cli.core.ports import EventLog, MemoryStore


def present(files: Mapping[str, Path]) -> list[str]:
    """The parts whose files are there, in their order."""
    return [part for part, path in files.items() if _exists(path)]


def _exists(path: Path) -> bool:
    with suppress(OSError):
        return path.exists()
    return False


def accept_log(log: EventLog, store: MemoryStore, *, new_epoch: bool) -> tuple[int, bool]:
    """The log's epoch, and whether a replaced log was accepted for it. Raises LogReplaced without `new_epoch`."""
    try:
        return registered_epoch(log, store), False
    except LogReplaced:
        if not new_epoch:
            raise
        return registered_epoch(log, store, new_epoch=True), True
