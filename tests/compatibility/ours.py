"""soma's checker on cases: its verdicts, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from soma_cli.core.compatibility import Verdict, check
from tests.compatibility.pair import Case
from tests.compatibility.score import Answer
from tests.compatibility.validator import is_witness


def answers(cases: Iterable[Case]) -> Iterator[Answer]:
    for case in cases:
        verdict = check(case.writer, case.reader)
        assert not unproven(case, verdict), f"{case.name}: a witness that is none: {unproven(case, verdict)}"
        yield Answer(case, verdict.compatible)


def unproven(case: Case, verdict: Verdict) -> list[object]:
    """Witnesses that the validator does not bear out; the verdict itself where it says "incompatible" without any."""
    if verdict.compatible is False and not verdict.violations:
        return [verdict]
    if verdict.compatible is None and not verdict.undecided:
        return [verdict]
    return [one for one in verdict.violations if not is_witness(one.witness, case.writer, case.reader)]
