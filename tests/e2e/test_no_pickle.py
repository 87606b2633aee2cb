"""soma writes no pickle, reads none, and never calls the module: neither itself nor through a dependency."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICKLERS = ("pickle", "_pickle", "shelve", "dill", "cloudpickle", "joblib")
_HEADER = re.compile(rb"\x80[\x02-\x05]")

REFUSE_TO_IMPORT = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in {PICKLERS!r}:
            raise ImportError("a pickler is imported: " + name)
sys.meta_path.insert(0, Refuse())
"""
# rich, which shows help and progress, imports the module for its styles. Nobody may call it.
REFUSE_TO_CALL = """
import pickle
def refuse(*arguments, **options):
    raise AssertionError("a pickler is called")
for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
    setattr(pickle, name, refuse)
"""
RUN = """
from soma_cli.main import main
main()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def soma(data: Path, *arguments: str, stdin: bytes = b"", guard: str = REFUSE_TO_IMPORT, exits: int = 0) -> str:
    """Run the real command with a guard in its process; its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", guard + RUN, *arguments],
        cwd=ROOT,
        env={**os.environ, "SOMA_DATA_DIR": str(data)},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert b"pickler" not in done.stderr, done.stderr.decode()
    assert done.returncode == exits, done.stderr.decode()
    return done.stdout.decode()


def tour(data: Path, guard: str) -> None:
    """All that writes, and all that reads what was written."""
    id = json.loads(soma(data, "store", "--text", "hello", "-o", "json", guard=guard))["id"]
    lines = b'{"payload": {"text": "one"}, "embedding": [0.5, 0.25]}\n' + pickle.dumps({"payload": {"text": "two"}})
    soma(data, "produce", "-", stdin=lines, guard=guard, exits=5)
    soma(data, "update", id, "--text", "hello marmalade", guard=guard)
    assert id in soma(data, "search", "marmalade", guard=guard)
    assert "hello marmalade" in soma(data, "get", id, guard=guard)
    for command in ("list", "stats", "lag", "doctor", "replay", "prune", "dlq list", f"history {id}", "config show"):
        assert soma(data, *command.split(), "-o", "json", guard=guard)
    soma(data, "consume", "kv", "--until-end", guard=guard)
    soma(data, "consume", "vector", "--until-end", guard=guard)
    for projection in ("kv", "vector"):
        soma(data, "replay", "--into", projection, "--execute", "--yes", guard=guard)
    soma(data, "delete", id, guard=guard)
    assert id not in soma(data, "search", "marmalade", guard=guard)


def pickles_in(content: bytes) -> Iterator[int]:
    """Where something starts that reads as a pickle of more than nothing, up to its end."""
    for found in _HEADER.finditer(content):
        try:
            operations = list(pickletools.genops(content[found.start() : found.start() + 100_000]))
        except (ValueError, IndexError, UnicodeError, OverflowError):
            continue
        if len(operations) > 4:
            yield found.start()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_would_be_found(protocol: int) -> None:
    for value in ({"a": 1}, ["x", 2.5], Path("/x")):
        assert list(pickles_in(b"\0" * 50 + pickle.dumps(value, protocol))) == [50]


def test_nothing_in_a_data_folder_is_a_pickle_and_no_pickler_is_imported(data: Path) -> None:
    tour(data, REFUSE_TO_IMPORT)
    files = [path for path in data.rglob("*") if path.is_file()]
    assert {"soma.json", "log.sqlite3", "store.sqlite3", "access.sqlite3"} <= {path.name for path in files}
    assert any("index" in path.parts for path in files)
    assert [path for path in files if list(pickles_in(path.read_bytes()))] == []


def test_no_pickler_is_called(data: Path) -> None:
    tour(data, REFUSE_TO_CALL)
    for arguments in (["--help"], ["store", "--help"]):
        assert "Usage" in soma(data, *arguments, guard=REFUSE_TO_CALL)


@pytest.mark.parametrize("guard", [REFUSE_TO_IMPORT, REFUSE_TO_CALL])
def test_the_guards_guard(guard: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"{guard}\nimport pickle; pickle.dumps(1)"], capture_output=True)
    assert b"a pickler is" in done.stderr
