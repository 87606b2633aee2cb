"""Who may import what, what is loaded when, and the rules of the house that a reader would otherwise check."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "soma_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
CLIENT_LIBRARIES = {
    "confluent_kafka",
    "psycopg",
    "qdrant_client",
    "qdrant_edge",
    "redis",
    "prometheus_client",
    "httpx",
    "jsonschema",
    "jsonschema_rs",
    "yaml",
    "numpy",
    "filelock",
    "sqlite3",
    "stamina",
}
TERMINAL_LIBRARIES = {"rich.progress", "rich.console", "rich.table", "rich.live"}
PICKLERS = {"pickle", "_pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "jsonpickle"}
VAGUE = ("Manager", "Helper", "Service", "Base", "Utils", "Util")

LONGEST_FILE = 400


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(path: Path, *, lazily: bool = True) -> Iterator[str]:
    """The modules that a file imports; without `lazily`, only those that are loaded with it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazily else eager(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def eager(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is loaded: not the bodies of functions, nor what only type checkers see."""
    yield node
    for child in ast.iter_child_nodes(node):
        of_types = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if not of_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from eager(child)


def test_the_import_contracts_hold() -> None:
    """The contracts stand in pyproject.toml."""
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["soma_cli.main", "soma_cli.core.system"])
def test_no_client_library_is_loaded_before_it_is_needed(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert loaded & (CLIENT_LIBRARIES | TERMINAL_LIBRARIES | PICKLERS - {"marshal"}) == set()


def test_the_checker_of_schemas_is_not_loaded_where_nothing_is_checked() -> None:
    loaded = loaded_by("import soma_cli.core.system, soma_cli.main")
    assert "soma_cli.core.compatibility.verdict" in loaded
    assert "soma_cli.core.compatibility.checker" not in loaded


def test_the_core_loads_no_command_line_library() -> None:
    assert loaded_by("import soma_cli.core.system") & {"typer", "rich", "click"} == set()


def test_only_adapters_name_a_client_library_when_loaded() -> None:
    found = {
        (name_of(path), name)
        for path in MODULES
        if "adapters" not in path.parts and "bench" not in path.parts  # it measures the bare libraries, too
        for name in imported(path, lazily=False)
        if name.split(".")[0] in CLIENT_LIBRARIES
    }
    assert found == set()


def test_nobody_imports_a_pickler() -> None:
    found = {(name_of(path), name) for path in MODULES for name in imported(path) if name.split(".")[0] in PICKLERS}
    assert found == set()


def test_commands_reach_adapters_only_through_the_core() -> None:
    found = {
        (name_of(path), name)
        for path in MODULES
        if "adapters" not in path.parts and name_of(path) not in ("core/wiring.py",)
        for name in imported(path)
        if name.startswith("soma_cli.core.adapters")
    }
    assert found == set()


def test_only_wiring_names_adapters_and_none_names_another() -> None:
    folders = sorted(path.name for path in (PACKAGE / "core" / "adapters").iterdir() if (path / "__init__.py").exists())
    assert folders
    for folder in folders:
        for path in (PACKAGE / "core" / "adapters" / folder).rglob("*.py"):
            others = [f"soma_cli.core.adapters.{other}" for other in folders if other != folder]
            assert not [name for name in imported(path) if name.startswith(tuple(others))], path


def test_files_stay_small() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def documented(path: Path) -> Iterator[tuple[str, bool]]:
    """Each public class and function of a module, with whether it has a docstring.

    In a protocol the class may speak for its one-line methods; a dataclass's or tuple's fields speak for themselves.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            fields = isinstance(node, ast.ClassDef) and all(isinstance(item, ast.AnnAssign) for item in node.body)
            yield node.name, fields or ast.get_docstring(node) is not None
        if isinstance(node, ast.ClassDef):
            yield from documented_methods(node)


def documented_methods(owner: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            one_line = node.lineno == node.end_lineno
            yield f"{owner.name}.{node.name}", one_line or ast.get_docstring(node) is not None


@pytest.mark.parametrize("place", ["core/ports/*.py", "core/system.py", "core/administration.py"])
def test_what_is_public_is_documented(place: str) -> None:
    found = {name: has_one for path in PACKAGE.glob(place) for name, has_one in documented(path)}
    assert len(found) > 10
    assert [name for name, has_one in found.items() if not has_one] == []


def test_the_promises_of_the_ports_have_tests_that_carry_their_names() -> None:
    promises = set()
    pages = [path.read_text(encoding="utf-8") for path in (PACKAGE / "core" / "ports").glob("*.py")]
    for text in (line.strip() for page in pages for line in page.splitlines()):
        if text.startswith("- ") and (name := text[2:].partition(":")[0]).count("_") >= 1 and name.isidentifier():
            promises.add(name)
    assert len(promises) >= 20
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "contracts").glob("test_*.py"))
    assert [promise for promise in sorted(promises) if f"def test_{promise}" not in tests] == []


def test_names_say_what_a_class_is() -> None:
    classes = {
        node.name: name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: where for name, where in classes.items() if name.endswith(VAGUE)} == {}
    assert [name_of(path) for path in MODULES if path.stem in ("utils", "helpers", "common", "misc")] == []
