"""`soma config`: the settings in force, their origins, and no secrets."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from soma_cli.core.settings_loader import load_settings
from soma_cli.main import app


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and a home without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


def soma(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environ)


def shown(*arguments: str, **environ: str) -> dict[str, dict]:
    result = soma(*arguments, "config", "show", "-o", "json", **environ)
    assert result.exit_code == 0, result.stderr
    return {row["key"]: row for row in json.loads(result.stdout)}


def test_show_names_every_setting_with_value_and_origin(place: Path) -> None:
    (place / "soma.yaml").write_text("worker: {batch_size: 7}\n")
    rows = shown("--data-dir", str(place / "data"), SOMA_LOG__GROUP_PREFIX="team")
    assert rows.keys() == load_settings().origins.keys()
    assert rows["worker.batch_size"] == {"key": "worker.batch_size", "value": 7, "origin": "file ./soma.yaml"}
    assert rows["log.group_prefix"]["origin"] == "environment SOMA_LOG__GROUP_PREFIX"
    assert rows["data_dir"] == {"key": "data_dir", "value": str(place / "data"), "origin": "option --data-dir"}
    assert rows["cache.url"] == {"key": "cache.url", "value": None, "origin": "default"}


def test_show_as_text_and_as_lines(place: Path) -> None:
    lines = soma("config", "show", "-o", "jsonl").stdout.splitlines()
    assert json.loads(lines[0]) == {"key": "profile", "value": "embedded", "origin": "default"}
    heading, first, *rest = soma("config", "show").stdout.splitlines()
    assert heading.split() == ["setting", "value", "from"]
    assert first.split() == ["profile", "embedded", "default"]
    assert len(rest) == len(lines) - 1


@pytest.mark.parametrize("command", [("show",), ("show", "-o", "json"), ("get", "store.dsn")])
def test_secrets_are_hidden(place: Path, command: tuple[str, ...]) -> None:
    result = soma("config", *command, SOMA_STORE__DSN="postgres://me:pa55word@host/db", SOMA_INDEX__API_KEY="pa55word")
    assert result.exit_code == 0
    assert "postgres://me:***@host/db" in result.stdout
    assert "pa55word" not in result.stdout + result.stderr


def test_get_prints_the_value_alone(place: Path) -> None:
    assert soma("config", "get", "worker.batch_size").stdout == "500\n"
    assert soma("config", "get", "log.topic_prefix").stdout == "\n"
    assert soma("config", "get", "cache.url").stdout == "null\n"
    assert soma("config", "get", "index.text_pointers", SOMA_INDEX__TEXT_POINTERS="/a,/b").stdout == '["/a","/b"]\n'
    row = json.loads(soma("config", "get", "profile", "-o", "json").stdout)
    assert row == {"key": "profile", "value": "embedded", "origin": "default"}


@pytest.mark.parametrize(
    ("key", "near"), [("worker.batchsize", "worker.batch_size"), ("dsn", "store.dsn"), ("embedder", "embedder.kind")]
)
def test_get_of_an_unknown_key_names_the_nearest(place: Path, key: str, near: str) -> None:
    result = soma("config", "get", key)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"did you mean {near}" in result.stderr


def test_path_is_the_file_in_use(place: Path) -> None:
    file = place / "soma.yaml"
    file.write_text("")
    assert soma("config", "path").stdout == f"{file}\n"
    other = place / "other.yaml"
    other.write_text("")
    result = json.loads(soma("--config", str(other), "config", "path", "-o", "json").stdout)
    assert result == {"file": str(other), "looked_for": [str(other)]}
    assert soma("config", "path", SOMA_CONFIG="other.yaml").stdout == f"{other}\n"


def test_path_without_a_file_says_where_one_would_be_looked_for(place: Path) -> None:
    usual = [str(place / "soma.yaml"), str(place / "xdg" / "soma" / "config.yaml")]
    result = soma("config", "path")
    assert result.stdout.splitlines() == usual
    assert "no settings file is used" in result.stderr
    assert json.loads(soma("config", "path", "-o", "json").stdout) == {"file": None, "looked_for": usual}


def test_the_example_is_a_settings_file_that_changes_nothing(place: Path) -> None:
    example = soma("config", "example").stdout
    assert yaml.safe_load(example)["worker"]["batch_size"] == 500
    before = load_settings().settings
    (place / "soma.yaml").write_text(example)
    assert load_settings().settings == before


def test_settings_that_cannot_work_exit_3(place: Path) -> None:
    result = soma("config", "show", "-o", "json", SOMA_WORKER__BATCH_SIZE="none")
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["error"]["code"] == "invalid_setting"
