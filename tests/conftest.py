"""What holds for every test: nothing of the user's is read or written, and a slow machine fails nobody."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import settings

pytest_plugins = ["tests.services.fixtures"]

_HOME = tempfile.TemporaryDirectory(prefix="soma-tests-")

for name in [
    name
    for name in os.environ
    if name.startswith(("SOMA_", "GITHUB_")) and not name.startswith(("SOMA_TEST_", "SOMA_RE", "SOMA_JSON"))
]:
    del os.environ[name]
os.environ["XDG_DATA_HOME"] = f"{_HOME.name}/data"
os.environ["XDG_CONFIG_HOME"] = f"{_HOME.name}/config"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell's background job; every process started from here would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, so that a change is judged by what it changes; others with SOMA_TEST_RANDOM=1.
settings.register_profile("soma", deadline=None, derandomize=os.environ.get("SOMA_TEST_RANDOM") != "1")
settings.load_profile("soma")

_SLOW = ("e2e", "contracts", "test_docs.py", "test_quality.py", "cli")
"""Slowest first, so that no process is left with a test of a minute while the others have nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        return _SLOW.index(folder) if folder in _SLOW else len(_SLOW)

    items.sort(key=place)
