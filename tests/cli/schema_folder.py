"""Folders of schemas that tests write, and a shell for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from soma_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def soma(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def report(*arguments: str | Path) -> dict[str, Any]:
    """The JSON that a command prints, whatever its exit code."""
    found = json.loads(soma(*arguments, "-o", "json").stdout)
    assert isinstance(found, dict)
    return found


def write(path: Path, schema: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema, indent=2), encoding="utf-8")
    return path


def record(**properties: Any) -> dict[str, Any]:
    """A schema of an object; a property whose name ends in `_` is required."""
    return {
        "$schema": DRAFT_7,
        "type": "object",
        "required": [name.rstrip("_") for name in properties if name.endswith("_")],
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
    }


PERSON = record(name_={"type": "string"}, age={"type": "integer", "maximum": 150})
WITH_EMAIL = record(name_={"type": "string"}, age={"type": "integer", "maximum": 150}, email_={"type": "string"})


def folder_of(path: Path, **schemas: object) -> Path:
    """A folder with the schemas, each released as version 1."""
    for name, schema in schemas.items():
        write(path / f"{name}.json", schema)
        write(path / "versions" / name / "1.json", schema)
    return path


class Repository:
    """A git repository of a test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", str(self.path), *arguments], env=environment(), check=check, capture_output=True, text=True
        )

    def commit(self, message: str = "a change", *options: str) -> subprocess.CompletedProcess[str]:
        self.git("add", "-A")
        return self.git("commit", "-q", "-m", message, *options, check=False)


def environment() -> dict[str, str]:
    """Without what a surrounding git has said, and with an identity."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))}
    identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _IDENTITY.items()}
    return {**plain, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


_IDENTITY = {"NAME": "Alice", "EMAIL": "alice@example.org"}


def copy_schemas(to: Path) -> Path:
    """soma's own schemas."""
    shutil.copytree(ROOT / "schemas", to)
    return to
