"""soma search: shape, filters, modes, and that a search sees what was stored before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from soma_cli.main import app


class Soma:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, list(arguments), env={"SOMA_DATA_DIR": str(self.folder)})
        assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr, done.exception)
        return done

    def store(self, *arguments: str) -> str:
        return self.run("store", *arguments, "-q").stdout.strip()

    def search(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.run("search", *arguments, "-o", "json").stdout)


@pytest.fixture
def soma(tmp_path: Path) -> Soma:
    return Soma(tmp_path / "data")


def test_the_shape_and_the_order_of_hits(soma: Soma) -> None:
    best = soma.store("--text", "window seat, window seat", "--namespace", "travel")
    other = soma.store("--text", "a window that looks out on a long street full of old houses")
    soma.store("--text", "coffee")
    hits = soma.search("windows")
    assert [hit["id"] for hit in hits] == [best, other]
    assert all(hit.keys() == {"id", "score", "namespace", "payload"} for hit in hits)
    assert hits[0]["score"] > hits[1]["score"] > 0
    assert hits[0]["payload"] == {"text": "window seat, window seat"}
    assert soma.run("search", "windows", "-q").stdout.split() == [best, other]
    lines = soma.run("search", "windows", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == soma.search("windows")


def test_filters(soma: Soma) -> None:
    a = soma.store("--text", "window", "--namespace", "a", "--importance", "5")
    b = soma.store("--text", "window", "--namespace", "b")
    assert {hit["id"] for hit in soma.search("window")} == {a, b}
    assert [hit["id"] for hit in soma.search("window", "-n", "b")] == [b]
    assert [hit["id"] for hit in soma.search("window", "--min-importance", "2")] == [a]
    assert soma.search("window", "--to", "2020-01-01") == []
    assert len(soma.search("window", "--from", "-1h")) == 2
    assert len(soma.search("window", "--limit", "1")) == 1


def test_it_sees_updates_and_deletes_at_once(soma: Soma) -> None:
    id = soma.store("--text", "window")
    soma.run("update", id, "--text", "aisle")
    assert soma.search("window") == []
    assert [hit["id"] for hit in soma.search("aisle")] == [id]
    soma.run("delete", id)
    assert soma.search("aisle") == []


def test_vectors_of_the_events_own(soma: Soma, tmp_path: Path) -> None:
    north, east = tmp_path / "north.json", tmp_path / "east.json"
    north.write_text("[0, 1]")
    east.write_text("[1, 0]")
    up = soma.store("--text", "upwards", "--embedding", str(north))
    right = soma.store("--text", "right", "--embedding", str(east))
    assert [hit["id"] for hit in soma.search("--mode", "dense", "--embedding", str(north))] == [up, right]
    assert [hit["id"] for hit in soma.search("--embedding", str(east), "--limit", "1")] == [right]
    assert {hit["id"] for hit in soma.search("upwards", "--mode", "hybrid", "--embedding", str(east))} == {up, right}
    assert [hit["id"] for hit in soma.search("upwards", "--mode", "lexical")] == [up]


def test_a_hit_counts_as_a_read(soma: Soma) -> None:
    id = soma.store("--text", "window")
    soma.search("window")
    soma.search("coffee")
    assert json.loads(soma.run("get", id, "-o", "json").stdout)["access_count"] == 1


def test_nothing_found_is_no_error(soma: Soma) -> None:
    assert soma.search("anything") == []
    assert soma.run("search", "anything").stdout == "nothing found\n"
    assert soma.search("the of and") == []
