"""What holds for every test: nothing of the user's is read or written, and a slow machine fails nobody."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings

pytest_plugins = ["tests.services.fixtures"]

_HOME = tempfile.TemporaryDirectory(prefix="soma-tests-")

for name in [
    name
    for name in os.environ
    if name.startswith("SOMA_") and not name.startswith(("SOMA_TEST_", "SOMA_RE", "SOMA_JSON"))
]:
    del os.environ[name]
os.environ["XDG_DATA_HOME"] = f"{_HOME.name}/data"
os.environ["XDG_CONFIG_HOME"] = f"{_HOME.name}/config"

settings.register_profile("soma", deadline=None)
settings.load_profile("soma")
