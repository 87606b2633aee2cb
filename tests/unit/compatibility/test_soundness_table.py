"""The pairs made by hand: the checker says what is true of each, or, of a few that are named here, nothing."""

from __future__ import annotations

import pytest

from soma_cli.core.compatibility import check
from tests.compatibility.ours import unproven
from tests.compatibility.pair import Case
from tests.compatibility.table import CASES
from tests.compatibility.validator import is_witness

UNDECIDED: set[str] = set()
"""Cases that the checker leaves open; one that it decides is taken off the list."""


def _named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [case for case in CASES if not case.compatible], ids=_named)
def test_what_is_said_to_break_breaks(case: Case) -> None:
    assert is_witness(case.witness, case.writer, case.reader)


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_the_checker_is_right(case: Case) -> None:
    verdict = check(case.writer, case.reader)
    assert not unproven(case, verdict)
    assert verdict.compatible is (None if case.name in UNDECIDED else case.compatible), verdict
