"""Which pairs a mode compares, and what becomes of several verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from soma_cli.core.compatibility import Budget, Mode
from soma_cli.core.operations.schema_check import Version, compare
from soma_cli.core.schema_results import SubjectCheck

WIDE, NARROW = {"type": "number"}, {"type": "integer"}


def check_version(new: Any, old: Sequence[Any], mode: Mode, budget: Budget = Budget()) -> SubjectCheck:
    versions = [Version(f"version {number}", document) for number, document in enumerate(old, 1)]
    return compare("numbers", Version("the new schema", new), versions, mode, budget)


@pytest.mark.parametrize(
    ("mode", "widened", "narrowed"),
    [
        (Mode.BACKWARD, True, False),
        (Mode.BACKWARD_TRANSITIVE, True, False),
        (Mode.FORWARD, False, True),
        (Mode.FORWARD_TRANSITIVE, False, True),
        (Mode.FULL, False, False),
        (Mode.FULL_TRANSITIVE, False, False),
        (Mode.NONE, True, True),
    ],
)
def test_the_direction_of_a_mode(mode: Mode, widened: bool, narrowed: bool) -> None:
    assert check_version(WIDE, [NARROW], mode).compatible is widened
    assert check_version(NARROW, [WIDE], mode).compatible is narrowed


@pytest.mark.parametrize("mode", list(Mode))
def test_the_first_version_and_the_same_again_agree(mode: Mode) -> None:
    assert check_version(NARROW, [], mode).compatible
    assert check_version(NARROW, [NARROW, NARROW], mode).compatible


@pytest.mark.parametrize("mode", [Mode.BACKWARD, Mode.FULL])
def test_only_the_last_version_counts(mode: Mode) -> None:
    assert check_version(NARROW, [WIDE, NARROW], mode).compatible
    assert not check_version(NARROW, [NARROW, WIDE], mode).compatible


@pytest.mark.parametrize("mode", [Mode.BACKWARD_TRANSITIVE, Mode.FULL_TRANSITIVE])
def test_every_version_counts(mode: Mode) -> None:
    assert check_version(NARROW, [WIDE, NARROW], mode).compatible is False


def test_full_shows_the_violations_of_both_directions() -> None:
    verdict = check_version({"required": ["a"]}, [{"required": ["b"]}], Mode.FULL)
    assert [violation.witness for violation in verdict.violations] == [{"b": None}, {"a": None}]


def test_a_break_outweighs_what_is_undecided() -> None:
    open_pair, broken = {"maxLength": 10**9}, {"type": "null"}
    assert check_version(open_pair, [{}], Mode.BACKWARD).compatible is None
    verdict = check_version({"type": "string", **open_pair}, [broken, {"type": "string"}], Mode.BACKWARD_TRANSITIVE)
    assert verdict.compatible is False
    assert verdict.violations
    assert verdict.undecided


def test_each_pair_has_the_whole_budget() -> None:
    budget = Budget(steps=40)
    assert check_version(WIDE, [NARROW] * 50, Mode.BACKWARD_TRANSITIVE, budget).compatible
