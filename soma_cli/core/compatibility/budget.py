"""How much a comparison of two schemas may cost."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """`steps` counts goals, branches and states of automata, so that a verdict does not depend on the machine;
    `seconds`, of processor time, is the guard behind it. What either stops is undecided."""

    steps: int = 200_000
    seconds: float = 10.0


_PARTS = 16
_STEPS_BETWEEN_LOOKS = 50


class BudgetSpent(Exception):
    """The search was given up."""


class Meter:
    """Counts what a search has spent of its budget."""

    def __init__(self, budget: Budget) -> None:
        self._left = budget.steps
        self._look_at = budget.steps
        self._some = 0
        self._deadline = time.thread_time() + budget.seconds

    def spend(self, steps: int = 1) -> None:
        """Raises BudgetSpent."""
        self._left -= steps
        if self._left < self._look_at:
            self._look_at = self._left - _STEPS_BETWEEN_LOOKS
            if self._left < 0 or time.thread_time() > self._deadline:
                raise BudgetSpent

    def spend_some(self, parts: int) -> None:
        """For small work: sixteen parts are a step."""
        self._some += parts
        if self._some >= _PARTS:
            steps, self._some = divmod(self._some, _PARTS)
            self.spend(steps)
