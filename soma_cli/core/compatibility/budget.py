"""How much a comparison of two schemas may cost."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """`steps` counts goals, branches and states of automata, so that a verdict does not depend on the machine;
    `seconds` is the guard behind it. What either stops is undecided."""

    steps: int = 200_000
    seconds: float = 10.0


class BudgetSpent(Exception):
    """The search was given up."""


class Meter:
    """Counts what a search has spent of its budget."""

    def __init__(self, budget: Budget) -> None:
        self._left = budget.steps
        self._deadline = time.monotonic() + budget.seconds

    def spend(self, steps: int = 1) -> None:
        """Raises BudgetSpent."""
        self._left -= steps
        if self._left < 0 or (self._left & 0x3F == 0 and time.monotonic() > self._deadline):
            raise BudgetSpent
