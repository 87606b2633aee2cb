"""What happens when a server cannot be had: a failure where servers are required, else a skip; never silence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "redis-server": "redis-server",
    "openssl": "openssl",
    "setpriv": "util-linux",
}
"""Program -> the Debian package that brings it."""


class StartFailed(Exception):
    """A server was started and did not come up; the message ends with its last output. Never a skip."""


def program(name: str) -> str:
    """The path of a program of `PACKAGES`; the test is failed or skipped where it is missing."""
    off_the_path = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version, reverse=True)
    found = shutil.which(name) or next(iter(off_the_path), None)
    if found is None:
        cannot_be_had(f"{name} is missing: install Debian's package {PACKAGES[name]}, or give the server's address")
    return str(found)


def cannot_be_had(message: str) -> NoReturn:
    """Fail the test with SOMA_REQUIRE_SERVICES=1, else skip it, both with the message."""
    if os.environ.get("SOMA_REQUIRE_SERVICES") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _version(path: Path) -> float:
    return float(path.parents[1].name)
