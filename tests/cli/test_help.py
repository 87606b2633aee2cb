"""Every command explains itself, and the help lists what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from soma_cli import __version__
from soma_cli.main import app

ROOT = typer.main.get_command(app)


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield (*path, name), child
        yield from _commands(child, (*path, name))


COMMANDS = dict(_commands(ROOT))
LEAVES = [path for path, command in COMMANDS.items() if not getattr(command, "commands", None)]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment}
    return subprocess.run([sys.executable, "-m", "soma_cli", *arguments], env=env, capture_output=True, text=True)


def help_of(*path: str) -> str:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "240", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_has_a_summary_in_one_sentence_or_two(path: tuple[str, ...]) -> None:
    summary = " ".join((COMMANDS[path].help or "").partition("\n\n")[0].split())
    assert 10 <= len(summary) <= 140, summary
    assert summary.endswith(".")
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", help_of(*path)).split())
    assert summary.replace("`", "") in shown.replace("`", "")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_has_an_example_of_itself(path: tuple[str, ...]) -> None:
    examples = re.findall(r"Example: (.*)", help_of(*path))
    assert examples
    for example in examples:
        words = shlex.split(re.split(r"\||<|>", example)[0])
        at = words.index("soma") if "soma" in words else -1
        assert tuple(words[at + 1 : at + 1 + len(path)]) == path or f"soma {' '.join(path)}" in example


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_an_example_has_only_options_that_there_are(path: tuple[str, ...]) -> None:
    known = {spelling for option in COMMANDS[path].params for spelling in option.opts}
    for example in re.findall(r"Example: (.*)", help_of(*path)):
        own = example.partition(f"soma {' '.join(path)}")[2].split("|")[0]
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", own)) <= known


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    silent = [option.name for option in COMMANDS[path].params if not getattr(option, "help", None)]
    assert not silent


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_that_is_listed_is_there(path: tuple[str, ...]) -> None:
    """An option that does not exist is a usage error of the command's own, not an import error or a missing command."""
    result = CliRunner().invoke(app, [*path, "--no-such-option"])
    assert result.exit_code == 2
    assert "no such option" in result.stderr.lower()


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"soma {__version__}\n", "")


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ROOT.commands:  # type: ignore[attr-defined]
        assert re.search(rf"^│ {name} ", done.stdout, re.MULTILINE), name


def test_without_arguments_it_shows_the_help() -> None:
    done = run()
    assert done.returncode == 2
    assert "Usage: soma" in done.stdout + done.stderr


@pytest.mark.parametrize(("shell", "part"), [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete --command")])
def test_it_prints_a_completion_script(shell: str, part: str) -> None:
    done = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert part in done.stdout
    assert "soma" in done.stdout


def test_an_unknown_command_names_the_nearest() -> None:
    done = run("serch", "x")
    assert done.returncode == 2
    assert "search" in done.stderr
