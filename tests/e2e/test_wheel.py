"""The package as users get it: the README's set-up in a clean environment, without anything of the checkout's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "venv", "site", "dist", "build", "__pycache__", ".*_cache", ".hypothesis"
)


def setup_of_the_readme() -> str:
    """The first ```sh block: it sets soma up and does the main job."""
    found = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def checkout(home: Path) -> Path:
    """A copy of the tree in which the README's commands have been run as they stand there."""
    copy = home / "soma"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    base = Path(sys.base_prefix, "bin")
    script = setup_of_the_readme()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=copy,
        env={**environment(home), "PATH": f"{base}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (copy / "printed").write_text(done.stdout, encoding="utf-8")
    return copy


def environment(home: Path) -> dict[str, str]:
    """An ordinary user's: without this project's paths, variables and virtual environment."""
    ours = ("SOMA_", "XDG_", "PYTHONPATH", "VIRTUAL_ENV", "PYTEST", "COV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(home)}


def soma(checkout: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The installed program, from outside the checkout."""
    return subprocess.run(
        [checkout / ".venv/bin/soma", *arguments],
        cwd=checkout.parent,
        env=environment(checkout.parent),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_wheel_holds_what_the_program_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT]
    built = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    wanted = {"soma_cli/py.typed", "soma_cli/config.example.yaml"}
    wanted |= {f"soma_cli/{path.relative_to(ROOT)}" for path in (ROOT / "schemas").rglob("*.json")}
    assert "soma_cli/schemas/versions/memory.event/1.json" in wanted
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "soma_cli").rglob("*.sql")}
    assert len(wanted) > 5
    assert wanted <= names
    assert not [name for name in names if not name.startswith(("soma_cli/", "soma_cli-"))]


def test_the_set_up_of_the_readme_does_the_main_job(checkout: Path) -> None:
    printed = (checkout / "printed").read_text(encoding="utf-8")
    assert "shutil.copytree" in printed
    assert re.search(r"^stored [0-9a-f-]{36} at memory\.events/0@0$", printed, re.MULTILINE)


def test_the_installed_program_works_outside_the_checkout(checkout: Path) -> None:
    stored = soma(checkout, "store", "--text", "Bob prefers tea", "-n", "wheel", "--wait", "all", "-o", "json")
    assert stored.returncode == 0, stored.stderr
    receipt = json.loads(stored.stdout)
    assert receipt["outcomes"] == {"kv": "applied", "vector": "applied"}
    assert json.loads(soma(checkout, "get", receipt["id"], "-o", "json").stdout)["payload"] == {
        "text": "Bob prefers tea"
    }
    two = '{"payload": {"text": "Carol prefers coffee"}}\n{"payload": {"text": "Dan prefers water"}}\n'
    produced = json.loads(soma(checkout, "produce", "-", "-n", "wheel", "-o", "json", stdin=two).stdout)
    assert (produced["accepted"], produced["rejected"]) == (2, 0)
    hits = json.loads(soma(checkout, "search", "coffee", "-n", "wheel", "-o", "json").stdout)
    assert [hit["payload"]["text"] for hit in hits] == ["Carol prefers coffee"]
    checked = json.loads(soma(checkout, "schema", "check", "-o", "json").stdout)
    assert (checked["compatible"], checked["folder_origin"]) == (True, "shipped")


def test_it_runs_from_the_installed_package_without_development_tools(checkout: Path) -> None:
    code = (
        "import importlib.util as u, soma_cli; print(soma_cli.__file__);"
        "print([name for name in ('pytest', 'mypy', 'hypothesis', 'mkdocs', 'rfc3339_validator') if u.find_spec(name)])"
    )
    done = subprocess.run(
        [checkout / ".venv/bin/python", "-c", code],
        cwd=checkout.parent,
        env=environment(checkout.parent),
        capture_output=True,
        text=True,
    )
    where, tools = done.stdout.splitlines()
    assert "site-packages" in where
    assert tools == "[]"
