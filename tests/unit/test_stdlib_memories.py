"""The example data: real texts, the same on every run, each once, with an answer to every known question."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
QUESTIONS = ROOT / "tests" / "e2e" / "stdlib_questions.json"
ADDRESSED = object()
COMMAND = [sys.executable, "-m", "examples.stdlib_memories"]


def loaded() -> ModuleType:
    """The module by its path, because pytest does not put the repository's root on the path."""
    spec = importlib.util.spec_from_file_location("stdlib_memories", ROOT / "examples" / "stdlib_memories.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


stdlib_memories = loaded()


def printed(hash_seed: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONWARNINGS": "error"}
    run = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=True)
    assert run.stderr == b""
    return run.stdout


@pytest.fixture(scope="module")
def output() -> bytes:
    return printed("1")


@pytest.fixture(scope="module")
def payloads(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line)["payload"] for line in output.splitlines()]


@pytest.fixture(scope="module")
def by_name(payloads: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {payload["qualified_name"]: payload for payload in payloads}


def test_two_runs_are_byte_identical(output: bytes) -> None:
    assert printed("2") == output


def test_names_are_unique_and_sorted(payloads: list[dict[str, Any]]) -> None:
    names = [payload["qualified_name"] for payload in payloads]
    assert names == sorted(set(names))


def test_there_are_enough_to_search(payloads: list[dict[str, Any]]) -> None:
    assert 1_200 <= len(payloads) <= 4_000


def test_every_line_is_what_produce_takes(output: bytes) -> None:
    for line in output.decode("ascii").splitlines():
        memory = json.loads(line)
        assert set(memory) == {"namespace", "payload"}
        payload = memory["payload"]
        assert memory["namespace"] == "stdlib"
        assert set(payload) == {"qualified_name", "module", "kind", "signature", "text"}
        assert payload["kind"] in {"function", "class"}
        assert payload["text"].startswith(payload["qualified_name"])
        assert payload["qualified_name"].startswith(payload["module"] + ".")


def test_no_value_that_a_store_refuses_or_that_differs_between_machines(output: bytes) -> None:
    for line in output.splitlines():
        values = [str(value) for value in json.loads(line)["payload"].values()]
        for value in values:
            value.encode("utf-8")
            assert "\0" not in value
            assert not re.search(r"<.* at 0x[0-9a-f]+>", value)
            assert sys.executable not in value


def test_only_public_names(payloads: list[dict[str, Any]]) -> None:
    private = [one["qualified_name"] for one in payloads if re.search(r"(^|\.)_", one["qualified_name"])]
    assert private == []


def test_every_expected_answer_is_there(by_name: dict[str, dict[str, Any]]) -> None:
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    assert len(questions) >= 34
    assert len({entry["question"] for entry in questions}) == len(questions)
    missing = [name for entry in questions for name in entry["expected"] if name not in by_name]
    assert missing == []
    assert all(entry["expected"] for entry in questions)


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("builtins.open", ["io.open"]),
        ("builtins.OSError", ["builtins.IOError", "os.error", "socket.error"]),
        ("os.path.basename", ["posixpath.basename", "ntpath.basename"]),
        ("queue.Queue", ["multiprocessing.dummy.Queue"]),
    ],
)
def test_an_object_stands_under_its_documented_name_only(
    by_name: dict[str, dict[str, Any]], name: str, aliases: list[str]
) -> None:
    assert name in by_name
    assert [alias for alias in aliases if alias in by_name] == []


def test_a_class_documented_in_its_initializer_is_there(by_name: dict[str, dict[str, Any]]) -> None:
    text = by_name["concurrent.futures.ThreadPoolExecutor"]["text"]
    assert text.startswith("concurrent.futures.ThreadPoolExecutor (thread pool executor): Initializes")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("get_close_matches", "get close matches"),
        ("OrderedDict", "ordered dict"),
        ("HTTPConnection", "http connection"),
        ("b64encode", ""),
        ("copytree", ""),
    ],
)
def test_the_words_of_a_compound_name(name: str, words: str) -> None:
    assert stdlib_memories.spoken(name) == words


def test_a_docstring_stays_whole_up_to_4000_characters() -> None:
    def documented() -> None: ...

    documented.__doc__ = "x " * 1_999 + "yzz"
    assert stdlib_memories.docstring(documented) == "x " * 1_999 + "yz"


def test_a_text_without_what_no_store_holds() -> None:
    def documented() -> None: ...

    documented.__doc__ = "a\0b \ud800 <object object at 0x7f00>"
    assert stdlib_memories.docstring(documented) == "ab ? <object object>"


def test_a_docstring_that_only_repeats_the_signature_is_none() -> None:
    def documented() -> None: ...

    documented.__doc__ = "documented(left, right)"
    assert stdlib_memories.docstring(documented) == ""


def test_defaults_that_differ_between_runs_are_not_shown() -> None:
    unordered = frozenset({"x", "y"})

    def odd(a: Any = ADDRESSED, b: Any = unordered, c: Any = sys.executable, d: Any = len, e: Any = 1) -> None: ...

    shown = stdlib_memories.signature(odd)
    assert shown is not None
    assert re.findall(r"= ([^,)]+)", shown) == ["...", "...", "...", "len", "1"]


def test_a_closed_pipe_ends_quietly() -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
