"""The tools that read the code and the pages, run as tests, so that one command is the whole gate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "NO_MKDOCS_2_WARNING": "1"}
"""Without the theme's advertisement for another site generator."""


@pytest.mark.parametrize(
    "tool",
    ["ruff check", "ruff format --check", "mypy", "lint-imports", "mkdocs build --strict"],
    ids=lambda tool: tool.split(" --")[0],
)
def test_quality(tool: str, tmp_path: Path) -> None:
    # mkdocs counts no warnings where it is told to be quiet.
    name, *arguments = tool.split()
    if name == "mkdocs":
        arguments += ["--site-dir", str(tmp_path / "site")]
    done = subprocess.run([TOOLS / name, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{tool} exits {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)


def test_the_site_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Pages read the same without a network, and tell nobody that they are read."""
    site = tmp_path / "site"
    subprocess.run(
        [TOOLS / "mkdocs", "build", "--quiet", "--site-dir", site],
        cwd=ROOT,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    pages = list(site.rglob("*.html"))
    assert pages
    fetched = ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http', "fonts.googleapis")
    assert not [(page.name, sign) for page in pages for sign in fetched if sign in page.read_text(encoding="utf-8")]
