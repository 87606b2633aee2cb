"""A witness of "the writer's schema and not the reader's", for one pair of schemas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from soma_cli.core.compatibility.assertions import Algebra, Literal
from soma_cli.core.compatibility.budget import BudgetSpent, Meter
from soma_cli.core.compatibility.documents import Document, Untreated
from soma_cli.core.compatibility.outcome import Found, Unknown
from soma_cli.core.compatibility.reading import Reading
from soma_cli.core.compatibility.search import Search
from soma_cli.core.compatibility.verdict import Undecided

_DEEP = 12_000
"""Python frames: enough for chains of some hundred schemas that need each other."""
_MOST_LOOKED_AT = 5_000_000
"""Assertions: some seconds of the validator, which cannot be interrupted."""


class Comparison:
    """Finds witnesses for a writer's schema and several forms of a reader's: what is known of one serves the next."""

    def __init__(self, writer: Any, meter: Meter) -> None:
        self._algebra = Algebra()
        self._readings: list[Reading] = []
        self._origins: dict[Literal, str] = {}
        self._search = Search(self._algebra, self._target, meter)
        self._writer_schema = writer
        self._writer: Literal | None = None

    def witness(self, reader: Any) -> Found | Undecided | None:
        """A document that the writer's schema accepts and the reader's refuses; None if it is proved that there is
        none."""
        try:
            with _deep_recursion():
                return self._witness(reader)
        except Untreated as error:
            return Undecided(error.pointer, error.message)
        except BudgetSpent:
            return Undecided("", "the budget of the search was spent")
        except RecursionError:
            return Undecided("", "the schemas need each other, or nest, too deep")

    def _witness(self, reader: Any) -> Found | Undecided | None:
        origins: dict[Literal, str] = {}
        if self._writer is None:
            self._writer = self._read(self._writer_schema, self._origins)
        denied = -self._read(reader, origins)
        outcome = self._search.solve(frozenset([self._writer, denied]))
        if isinstance(outcome, Unknown):
            origin = origins.get(abs(outcome.literal), self._origins.get(abs(outcome.literal), ""))
            return Undecided(origin, outcome.message)
        if isinstance(outcome, Found):
            cost = sum(self._search.evaluation.holds_at_cost(one, outcome.value)[1] for one in (self._writer, denied))
            return (
                outcome if cost <= _MOST_LOOKED_AT else Undecided("", "to validate what was found would take too long")
            )
        return None

    def _read(self, schema: Any, origins: dict[Literal, str]) -> Literal:
        reading = Reading(self._algebra, Document(schema), origins)
        self._readings.append(reading)
        return reading.root()

    def _target(self, ref: Literal) -> Literal:
        for reading in self._readings:
            if (found := reading.target(ref)) is not None:
                return found
        raise AssertionError(ref)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
