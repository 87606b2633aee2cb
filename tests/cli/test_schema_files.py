"""Files that are no schemas, or refer to what they may not: one message each, and the right exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.schema_folder import DRAFT_7, PERSON, folder_of, record, report, soma, write
from tests.services.web import WebServer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder_of(tmp_path / "schemas", person=PERSON)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", 5, "the document is not JSON: it is empty"),
        ('{"type": "object"', 5, "the document is not JSON"),
        ("<schema/>", 5, "the document is not JSON"),
        ('{"type": "object", "type": "array"}', 5, "'type' is there more than once"),
        ('{"maximum": 1e400}', 5, "overflows to infinity"),
        ("\ufeff{}", 5, "byte order mark"),
        ("7", 5, "holds no JSON Schema"),
        ("[]", 5, "holds no JSON Schema"),
        ('{"type": "strange"}', 5, "strange"),
        ('{"required": "name"}', 5, "not a draft-07 JSON Schema"),
        ('{"pattern": "("}', 5, "not a draft-07 JSON Schema"),
        ('{"$schema": "https://json-schema.org/draft/2020-12/schema"}', 5, "draft/2020-12"),
        ('{"$schema": 7}', 5, "only draft-07"),
        ('{"$ref": "other.json"}', 5, "there is no file schemas/other.json"),
        ('{"$ref": "http://127.0.0.1:9/x.json"}', 5, "nothing is fetched from elsewhere"),
        ('{"$ref": "person.json"}', 5, "in a circle"),
        (f"{'[' * 300}{']' * 300}", 5, "nest deeper than 200"),
    ],
)
def test_a_file_that_is_no_schema_is_one_message(folder: Path, text: str, code: int, words: str) -> None:
    write(folder / "person.json", text)
    result = soma("schema", "check")
    assert (result.exit_code, result.stdout) == (code, "")
    first, hint = result.stderr.splitlines()
    assert words in first
    assert "schemas/person.json" in first
    assert hint.strip()


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"type": "strange"}}}, "(at /properties/a/type)"),
        ({"pattern": "^.{0,99999}$"}, "is no regular expression, or too large a one for the validator (at /pattern)"),
        ({"type": "x" * 1000}, "xxx…"),
    ],
)
def test_what_is_no_schema_has_its_place(folder: Path, schema: object, words: str) -> None:
    write(folder / "person.json", schema)
    result = soma("schema", "check")
    assert result.exit_code == 5
    assert words in result.stderr
    assert len(result.stderr) < 600


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / "person.json").write_bytes(b'{"title": "\xff"}')
    result = soma("schema", "check")
    assert result.exit_code == 5
    assert "schemas/person.json is not UTF-8" in result.stderr


def test_a_file_of_50_mb_is_refused_before_it_is_parsed(folder: Path) -> None:
    with (folder / "person.json").open("wb") as file:
        file.write(b'{"description": "')
        file.seek(50_000_000)
        file.write(b'"}')
    result = soma("schema", "check")
    assert result.exit_code == 5
    assert "schemas/person.json has more than 10 MiB, too much for a schema" in result.stderr


def test_a_folder_a_pipe_and_a_device_are_no_files(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "folder.json").mkdir()
    for name in ("pipe", "device", "folder"):
        result = soma("schema", "check", name)
        assert result.exit_code == 2
        assert f"schemas/{name}.json cannot be read" in result.stderr


def as_a_mortal(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*mortal, sys.executable, "-m", "soma_cli", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)


def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "person.json").chmod(0)
    done = as_a_mortal(folder.parent, "schema", "check")
    assert done.returncode == 2
    assert "schemas/person.json cannot be read: Permission denied" in done.stderr


def test_a_folder_without_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas").mkdir()
    result = soma("schema", "check")
    assert result.exit_code == 6
    assert "there is no schema in schemas" in result.stderr


def test_a_fault_in_another_file_names_that_file(folder: Path) -> None:
    write(folder.parent / "common.json", "{")
    write(folder / "person.json", record(name={"$ref": "../common.json"}))
    result = soma("schema", "check")
    assert result.exit_code == 5
    assert "common.json: the document is not JSON" in result.stderr
    write(folder.parent / "common.json", {"$schema": "http://json-schema.org/draft-04/schema#"})
    result = soma("schema", "check")
    assert result.exit_code == 5
    assert "common.json: the schema's draft is" in result.stderr


def test_what_is_checked_is_the_schema_with_its_files(folder: Path) -> None:
    write(folder.parent / "common" / "age.json", {"type": "integer", "maximum": 100})
    write(folder / "person.json", record(name_={"type": "string"}, age={"$ref": "../common/age.json"}))
    found = report("schema", "check")
    assert found["compatible"] is False
    assert [one["pointer"] for one in found["subjects"][0]["violations"]] == ["/definitions/age/maximum"]


# --- addresses ---


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a real HTTP server on loopback that has a schema at /age.json, and counts what it is asked."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/drip":
                self.drip()
                return
            good = self.path.endswith("age.json")
            body = b'{"type": "integer", "maximum": 100}' if good else b"<html>no</html>"
            self.send_response(200 if good or "html" in self.path else 500 if "fault" in self.path else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def drip(self) -> None:
            """One byte at a time, so that no single wait is long."""
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                for _ in range(600):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)

        def log_message(self, *arguments: object) -> None:
            pass

    asked: list[str] = []
    running = WebServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=running.serve_forever)
    thread.start()
    ASKED[:] = [asked]
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


ASKED: list[list[str]] = []


def test_an_address_is_fetched_only_where_that_is_allowed(folder: Path, server: str) -> None:
    write(folder / "person.json", record(name_={"type": "string"}, age={"$ref": f"{server}/age.json"}))
    refused = soma("schema", "check")
    assert (refused.exit_code, ASKED[0]) == (5, [])
    assert "--allow-remote" in refused.stderr
    found = report("schema", "check", "--allow-remote")
    assert [one["pointer"] for one in found["subjects"][0]["violations"]] == ["/definitions/age/maximum"]
    assert ASKED[0] == ["/age.json"]


def test_a_relative_reference_of_a_fetched_schema_is_fetched_too(folder: Path, server: str) -> None:
    write(folder / "person.json", {"$schema": DRAFT_7, "$ref": f"{server}/sub/none.html"})
    result = soma("schema", "check", "--allow-remote")
    assert result.exit_code == 5
    assert f"{server}/sub/none.html: the document is not JSON" in result.stderr


@pytest.mark.parametrize(
    ("path", "code", "words"), [("nowhere", 5, "there is nothing at"), ("fault", 4, "answers 500")]
)
def test_what_an_address_may_answer_instead(folder: Path, server: str, path: str, code: int, words: str) -> None:
    write(folder / "person.json", {"$ref": f"{server}/{path}"})
    result = soma("schema", "check", "--allow-remote")
    assert result.exit_code == code
    assert words in result.stderr


def test_an_answer_that_does_not_end(folder: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_REGISTRY__TIMEOUT_S", "2")
    write(folder / "person.json", {"$ref": f"{server}/drip"})
    began = time.monotonic()
    result = soma("schema", "check", "--allow-remote")
    assert result.exit_code == 4
    assert "no whole answer within 2 s" in result.stderr
    assert time.monotonic() - began < 20


def test_an_address_that_nobody_answers(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/x.json"
    write(folder / "person.json", {"$ref": address})
    result = soma("schema", "check", "--allow-remote")
    assert result.exit_code == 4
    assert f"{address} cannot be fetched" in result.stderr


# --- what is not looked at ---


@pytest.mark.parametrize("name", ["my schema.json", "mémoire.json", "-draft.json", "Note.JSON"])
def test_a_file_without_a_schemas_name_is_refused(folder: Path, name: str) -> None:
    write(folder / name, PERSON)
    result = soma("schema", "check")
    assert (result.exit_code, result.stdout) == (5, "")
    assert f"schemas/{name} has no schema's name" in result.stderr
    assert soma("schema", "check", "person").exit_code == 0
    assert name in soma("schema", "list").stderr


def test_files_further_below_are_told_unless_they_are_referred_to(folder: Path) -> None:
    write(folder / "parts/name.json", {"type": "string"})
    write(folder / "parts/deep/lost.json", {"type": "string"})
    write(folder / "versions/person/v2.json", PERSON)
    write(folder / ".hidden.json", PERSON)
    write(folder / "person.json", record(name_={"$ref": "parts/name.json"}))
    assert report("schema", "check")["ignored"] == ["schemas/parts/deep/lost.json", "schemas/versions/person/v2.json"]
    assert "not looked at" not in soma("schema", "list").stderr
    result = soma("schema", "check", "-o", "github")
    assert "not looked at" in result.stderr
    assert "::warning::not looked at, as no schema by its name or place: schemas/parts/deep/lost.json" in result.stdout


@pytest.mark.parametrize("closed", [".", "versions", "versions/person"])
def test_a_folder_that_may_not_be_read(folder: Path, closed: str) -> None:
    (folder / closed).chmod(0)
    done = as_a_mortal(folder.parent, "schema", "check")
    (folder / closed).chmod(0o755)
    assert done.returncode == 2
    assert "cannot be read: Permission denied" in done.stderr
