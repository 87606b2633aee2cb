"""The Java servers, fetched once into a cache: `pom.xml` and `connect-pom.xml` name the versions, Maven brings them.

    python -m tests.services      fetches all of them now, so that no test waits for a download

The cache is `SOMA_TEST_CACHE`, by default `soma-tests` in the user's cache folder. A folder there belongs to one
content of its pom, appears whole or not at all, and is fetched by one process while others wait for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from tests.services.required import cannot_be_had, program

HERE = Path(__file__).parent
GOALS = {
    "kafka": ("pom.xml", "dependency:copy-dependencies@kafka"),
    "connect": ("connect-pom.xml", "dependency:copy-dependencies@connect"),
    "registry": ("pom.xml", "dependency:unpack@registry"),
}
_FETCH_TIMEOUT_S = 600


def jars(server: str) -> Path:
    """The folder with the jars of "kafka" or "registry", or of what "connect" loads besides Kafka's."""
    pom, goal = HERE / GOALS[server][0], GOALS[server][1]
    folder = cache() / hashlib.sha256(pom.read_bytes()).hexdigest()[:16] / server
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _fetch(server, pom, goal, folder)
    return folder


def cache() -> Path:
    """Where the jars lie."""
    given = os.environ.get("SOMA_TEST_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "soma-tests"


def _fetch(server: str, pom: Path, goal: str, folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{server}-"))
    command = [program("mvn"), "-q", "-B", "-f", str(pom), goal, f"-Djars.folder={scratch}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S
        )
        if done.returncode != 0:
            cannot_be_had(f"Maven could not fetch the jars of {server}:\n{done.stdout}{done.stderr}")
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
