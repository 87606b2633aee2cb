"""The pages are true: what they show is run, what there is is on them, what is generated is up to date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from soma_cli.core.settings_catalogue import document
from tests.console import ROOT, Shell, blocks_of, differences

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
PAGES_WRITTEN_WITH = (3, 11)
SHAPES = TEXTS["docs/json-shapes.md"]

_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


REFERENCE = generator("generate_reference")


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if blocks_of(text)])
def test_the_commands_of_a_page_print_what_it_says(name: str, tmp_path: Path) -> None:
    wrong = list(differences(TEXTS[name], tmp_path / "alice"))
    if sys.version_info[:2] != PAGES_WRITTEN_WITH:  # the texts that an example imports are the interpreter's own
        wrong = [difference for difference in wrong if "stdlib" not in difference.partition("\n")[0]]
    assert not wrong, f"\n{'=' * 80}\n".join(["", *wrong, f"if this is right, run: python tests/console.py {name}"])


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if _PYTHON.search(text)])
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("".join(found[1] for found in _PYTHON.finditer(TEXTS[name])), encoding="utf-8")
    shell = Shell(tmp_path / "alice")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=shell.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_is_up_to_date() -> None:
    assert TEXTS["docs/reference.md"] == REFERENCE.page(), "run: python docs/generate_reference.py"


def test_the_shapes_are_up_to_date() -> None:
    assert generator("generate_shapes").regenerated(SHAPES) == SHAPES, "run: python docs/generate_shapes.py"


def test_every_command_with_a_shape_of_its_own_is_said_to_print_it() -> None:
    """Results that are parts of none and printed by none would be described for nothing."""
    parts = set(re.findall(r"\]\(#(\w+)\)", SHAPES))
    stray = [
        name for name in re.findall(r"^### (\w+)\n\n(?!Printed by)", SHAPES, re.MULTILINE) if name.lower() not in parts
    ]
    assert not stray, f"name the commands that print them in docs/generate_shapes.py: {stray}"


def test_the_reference_has_every_command() -> None:
    from tests.cli.test_help import LEAVES

    assert {f"soma {' '.join(path)}" for path in LEAVES} == {command.name for command in REFERENCE.commands()}


def test_the_tour_knows_every_top_level_command() -> None:
    names = {command.name.split()[1] for command in REFERENCE.commands()}
    missing = [name for name in sorted(names) if not re.search(rf"\bsoma {name}\b", TEXTS["README.md"])]
    assert not missing, f"README.md says nothing of: {', '.join(missing)}"


def test_every_setting_is_documented() -> None:
    missing = [row.key for row in document() if f"`{row.key}`" not in TEXTS["docs/CONFIGURATION.md"]]
    assert not missing


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_pages_speak_of_no_setting_that_there_is_not(name: str) -> None:
    known = {"SOMA_" + row.key.replace(".", "__").upper() for row in document()}
    known |= {"SOMA_CONFIG", "SOMA_DEBUG", "SOMA_REQUIRE_SERVICES", "SOMA_JSON_CORPUS", "SOMA_PROFILE"}
    spoken = re.findall(r"\bSOMA_[A-Z][A-Z_]*[A-Z]\b", TEXTS[name])
    assert not [one for one in spoken if one not in known and not one.startswith("SOMA_TEST")]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_pages_use_no_option_that_there_is_not(name: str) -> None:
    spelled = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXTS["docs/reference.md"]))
    spelled |= {"--help", "--show-completion", "--install-completion"}
    for line in re.findall(r"(?:^|[`|])\s*(?:\$ )?(soma [^`|\n]*)", TEXTS[name], re.MULTILINE):
        unknown = [option for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line) if option not in spelled]
        assert not unknown, line


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    """Those among the pages of docs/ are checked by mkdocs."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXTS[name])
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


# --- the gate ---


def test_the_gate_runs_the_command_of_the_readme() -> None:
    gate = (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().splitlines()
    assert gate[-1] == "python -m pytest"
    assert f"&& {gate[-1]}\n" in TEXTS["README.md"]
    assert "run: .ci/run" in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
