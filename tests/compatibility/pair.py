"""Pairs of schemas whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing()
"""In the place of a witness: there is none, since every document that the one accepts is accepted by the other."""


class Case(NamedTuple):
    """One direction: does the reader accept all that the writer accepts? `witness` is a document that it does not."""

    name: str
    writer: Any
    reader: Any
    witness: Any

    @property
    def compatible(self) -> bool:
        return self.witness is NOTHING


class Row(NamedTuple):
    """Two schemas and the truth in both directions.

    `left_only` is a document that `left` accepts and `right` refuses, `right_only` the other way round.
    """

    name: str
    left: Any
    right: Any
    left_only: Any = NOTHING
    right_only: Any = NOTHING

    def cases(self) -> Iterator[Case]:
        yield Case(f"{self.name} >", self.left, self.right, self.left_only)
        yield Case(f"{self.name} <", self.right, self.left, self.right_only)
