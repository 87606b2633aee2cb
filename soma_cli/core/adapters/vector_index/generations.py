"""Where an index's files lie: `current` names the live generation, each generation is a folder of its own.

current               {"generation": "g-..."}, replaced atomically
g-.../shard/          the engine's files
g-.../meta.json       what the generation holds and how far it has come, replaced after the engine's flush
g-.../building.lock   locked by the process that fills a shadow; kill -9 unlocks it
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from soma_cli.core.adapters.data_folder import folder_error, replace_file, sync_folder
from soma_cli.core.adapters.vector_index.engine_errors import corrupt, engine_errors
from soma_cli.core.errors import OutOfSpace
from soma_cli.core.ports import IndexIdentity

ROOM_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Meta:
    """`positions` is topic id -> partition -> next offset."""

    identity: IndexIdentity
    language: str
    positions: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def advanced(self, topic_id: str, positions: Mapping[int, int]) -> Meta:
        """With the positions raised, none lowered; itself where none has moved."""
        stored = self.positions.get(topic_id, {})
        ahead = {p: offset for p, offset in positions.items() if offset > stored.get(p, -1)}
        return replace(self, positions={**self.positions, topic_id: {**stored, **ahead}}) if ahead else self


def check_room(folder: Path) -> None:
    """Raises OutOfSpace while there is still some: the engine writes through mapped files, which it enlarges by 32 MB
    at a time, and a page of one that the disk has no room for ends the process (SIGBUS) without a word."""
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < ROOM_BYTES:
        raise OutOfSpace(
            f"less than {ROOM_BYTES // 1_000_000} MB are free for the search index in {folder}",
            hint="free some space and try again; storing and reading go on without the index",
        )


def live_name(root: Path) -> str | None:
    """The live generation; None where none was made yet. Raises DataFolderError."""
    path = root / "current"
    try:
        name = orjson.loads(path.read_bytes())["generation"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise corrupt(path, "it does not name a generation") from error
    if not isinstance(name, str) or not name.startswith("g-") or "/" in name:
        raise corrupt(path, "it does not name a generation")
    return name


def set_live(root: Path, name: str) -> None:
    with engine_errors(root):
        replace_file(root / "current", orjson.dumps({"generation": name}))


def new_generation(root: Path) -> Path:
    folder = root / f"g-{secrets.token_hex(6)}"
    with engine_errors(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_room(root)
        folder.mkdir(mode=0o700)
        sync_folder(root)
    return folder


def building_lock(folder: Path) -> FileLock:
    return FileLock(folder / "building.lock", thread_local=False)


def delete_abandoned(root: Path, live: str | None) -> None:
    """Delete what is neither live nor being built: rebuilds that died, generations that a crash kept from deletion."""
    for folder in root.glob("g-*"):
        if folder.name == live:
            continue
        lock = building_lock(folder)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def abandoned(root: Path) -> list[str]:
    """The names of what `delete_abandoned` would delete."""
    live = live_name(root)
    return [folder.name for folder in sorted(root.glob("g-*")) if folder.name != live and not _is_being_built(folder)]


def _is_being_built(folder: Path) -> bool:
    lock = building_lock(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def read_meta(folder: Path) -> Meta:
    """Raises FileNotFoundError, DataFolderError."""
    path = folder / "meta.json"
    try:
        found = orjson.loads(path.read_bytes())
        positions = {t: {int(p): int(offset) for p, offset in of.items()} for t, of in found["positions"].items()}
        identity = IndexIdentity(found["model_revision"], found["dimension"])
        return Meta(identity, str(found["language"]), positions)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise folder_error(path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(path, "it is not readable") from error


def write_meta(folder: Path, meta: Meta) -> None:
    content = {
        "model_revision": meta.identity.model_revision,
        "dimension": meta.identity.dimension,
        "language": meta.language,
        "positions": {t: {str(p): offset for p, offset in of.items()} for t, of in meta.positions.items()},
    }
    with engine_errors(folder):
        replace_file(folder / "meta.json", orjson.dumps(content))


def size_on_disk(folder: Path) -> int:
    """Bytes allocated; the engine's files are sparse, so that their lengths say little."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
