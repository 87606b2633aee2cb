"""Counts, sizes, and where the data lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.ports import EventLog, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings


def stats(settings: Settings, log: EventLog, store: MemoryStore, index: VectorIndex) -> dict[str, Any]:
    bounds = log.bounds(EVENTS_TOPIC).values()
    return {
        "profile": settings.profile,
        **{name: value for name, value in store.stats().items() if name != "where"},
        "events": sum(bound.end - bound.beginning for bound in bounds),
        "dead_letters": len(read_letters(log)),
        "index": index.stats(),
        "files": _files(settings.data_dir),
        "places": [
            {"name": name, "kind": kind, "where": part.stats()["where"]}
            for name, kind, part in (
                ("log", settings.log.kind, log),
                ("store", settings.store.kind, store),
                ("index", settings.index.kind, index),
            )
        ],
    }


def _files(root: Path) -> list[dict[str, Any]]:
    parts = [*sorted(root.glob("*.sqlite3")), root / "index"]
    return [{"name": part.stem, "path": str(part), "bytes": _bytes(part)} for part in parts if part.exists()]


def _bytes(path: Path) -> int:
    """What the file, its write-ahead log, or everything in the folder takes on disk."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())
