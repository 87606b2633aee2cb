"""How often a checker is right: counted over cases whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.compatibility.pair import Case


class Answer(NamedTuple):
    """What a checker said of a case: `compatible` is None where it gave no verdict."""

    case: Case
    compatible: bool | None

    @property
    def wrong(self) -> bool:
        return self.compatible is not None and self.compatible is not self.case.compatible


@dataclass
class Score:
    """Counts of answers by truth; "positive" is what a gate is there to find: incompatible."""

    found: int = 0
    missed: int = 0
    held: int = 0
    alarmed: int = 0
    undecided_compatible: int = 0
    undecided_incompatible: int = 0
    wrong: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        truth = answer.case.compatible
        if answer.compatible is None:
            self.undecided.append(answer.case.name)
            self.undecided_compatible += truth
            self.undecided_incompatible += not truth
            return
        if answer.wrong:
            self.wrong.append(answer.case.name)
        self.held += truth and answer.compatible
        self.alarmed += truth and not answer.compatible
        self.found += not truth and not answer.compatible
        self.missed += not truth and answer.compatible

    @property
    def cases(self) -> int:
        return self.found + self.missed + self.held + self.alarmed + len(self.undecided)

    @property
    def precision(self) -> float:
        """Of the pairs it calls incompatible, the share that is."""
        return self.found / max(1, self.found + self.alarmed)

    @property
    def recall(self) -> float:
        """Of the pairs that are incompatible, the share that it calls so (an undecided one is not found)."""
        return self.found / max(1, self.found + self.missed + self.undecided_incompatible)

    @property
    def proved(self) -> float:
        """Of the pairs that are compatible, the share that it calls so."""
        return self.held / max(1, self.held + self.alarmed + self.undecided_compatible)

    @property
    def undecided_share(self) -> float:
        return len(self.undecided) / max(1, self.cases)

    def line(self) -> str:
        """A row of the table in docs/schema-checker-quality.md; a share of nothing is a dash."""
        breaking = self.cases > self.held + self.alarmed + self.undecided_compatible
        found = [self.precision, self.recall] if breaking else [None, None]
        shares = [*found, self.proved, self.undecided_share]
        shown = " | ".join("-" if share is None else f"{100 * share:.1f} %" for share in shares)
        return f"{self.cases} | {shown} | {self.missed} | {self.alarmed}"


def score(answers: Iterable[Answer]) -> Score:
    total = Score()
    for answer in answers:
        total.add(answer)
    return total
