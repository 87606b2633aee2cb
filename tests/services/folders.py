"""Temporary folders of servers: gone when their owner is, readable for a server that runs as another user."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path

_PLACE = Path("/tmp")
_NAME = re.compile(r"soma-server-[a-z]+-(?P<pid>[0-9]+)-")


def server_folder(owner: object, name: str) -> Path:
    """A new folder that is removed with `owner`, or when the process ends; by the next caller if that was killed."""
    _remove_those_of_the_dead()
    folder = Path(tempfile.mkdtemp(prefix=f"soma-server-{name}-{os.getpid()}-", dir=_PLACE))
    folder.chmod(0o711)
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_folder(controller: int) -> Path:
    """The one folder of the run with this controller, made if need be; its keepers remove it."""
    # The start time tells a process from an earlier one with the same number.
    started = Path(f"/proc/{controller}/stat").read_text().rpartition(")")[2].split()[19]
    folder = _PLACE / f"soma-server-run-{controller}-{started}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _remove_those_of_the_dead() -> None:
    for folder in _PLACE.glob("soma-server-*"):
        named = _NAME.match(folder.name)
        if named and not Path(f"/proc/{named['pid']}").exists():
            shutil.rmtree(folder, ignore_errors=True)
