"""Temporary folders of servers: gone when their owner is, readable for a server that runs as another user."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path


def server_folder(owner: object, name: str) -> Path:
    """A new folder that is removed with `owner`, or when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"soma-{name}-", dir="/tmp"))
    folder.chmod(0o711)
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
