"""Real questions to real texts: the standard library's docstrings, searched as they come out of the box."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import ROOT, Soma, command_line

QUESTIONS = json.loads((Path(__file__).parent / "stdlib_questions.json").read_text())
SHOWN = 5
RECALL_AT_1 = 0.54
RECALL_AT_5 = 0.77
"""Floors a little under what docs/search-quality.md reports, as docstrings differ between versions of Python."""


class Answer(NamedTuple):
    question: str
    expected: list[str]
    found: list[str]

    def is_hit(self, depth: int) -> bool:
        return any(name in self.expected for name in self.found[:depth])


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Answer]]:
    folder = tmp_path_factory.mktemp("questions")
    soma = Soma(folder / "data", folder / "output")
    lines = subprocess.run(
        [sys.executable, "-m", "examples.stdlib_memories"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    produced = subprocess.run(
        [*command_line(("produce", "-", "--key", "/payload/qualified_name", "-o", "json"))],
        cwd=ROOT, env=soma.env(), input=lines, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(produced.stdout)["accepted"] == len(lines.splitlines())
    with soma.library() as system:
        system.apply_vector()
        found = {}
        for item in QUESTIONS:
            hits = system.search(item["question"], limit=SHOWN)
            names = [hit.payload["qualified_name"] for hit in hits]
            found[item["question"]] = Answer(item["question"], item["expected"], names)
        yield found


def recall(answers: dict[str, Answer], depth: int) -> float:
    return sum(answer.is_hit(depth) for answer in answers.values()) / len(answers)


@pytest.mark.parametrize(
    ("question", "name"),
    [("copy a directory tree recursively", "shutil.copytree"), ("merge sorted iterables", "heapq.merge")],
)
def test_the_plain_questions_are_answered_first(answers: dict[str, Answer], question: str, name: str) -> None:
    assert answers[question].found[0] == name


def test_recall_over_all_questions(answers: dict[str, Answer]) -> None:
    at_1, at_5 = recall(answers, 1), recall(answers, 5)
    print(f"\n{len(answers)} questions, Python {sys.version.split()[0]}: recall@1 {at_1:.3f}, recall@5 {at_5:.3f}")
    for answer in answers.values():
        if not answer.is_hit(1):
            depth = next((n for n in range(2, SHOWN + 1) if answer.is_hit(n)), None)
            where = "not among the first 5" if depth is None else f"place {depth}"
            print(f"  {answer.question}: wanted {' or '.join(answer.expected)} ({where}); first: {answer.found[0]}")
    assert at_1 >= RECALL_AT_1
    assert at_5 >= RECALL_AT_5
