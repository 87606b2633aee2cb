"""How a live collection differs from one made anew from the log, id by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from soma_cli.core.ports import Difference, PointSummary

Positions = Mapping[str, Mapping[int, int]]
Kind = Literal["missing", "extra", "different"]

OFFSET_MASK = (1 << 40) - 1
"""A version is epoch * 2^40 + offset of the event that made the state."""


def merged(
    live: Iterator[PointSummary], made: Iterator[PointSummary]
) -> Iterator[tuple[PointSummary | None, PointSummary | None]]:
    """Pair two runs in order of id; None where one side lacks the id."""
    a, b = next(live, None), next(made, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.id < b.id):
            yield a, None
            a = next(live, None)
        elif a is None or b.id < a.id:
            yield None, b
            b = next(made, None)
        else:
            yield a, b
            a, b = next(live, None), next(made, None)


def difference(live: PointSummary | None, made: PointSummary | None) -> Kind | None:
    """A tombstone on one side is no difference where the other has nothing: both say that the memory is gone."""
    if live == made:
        return None
    if live is None:
        return None if made is None or made.deleted else "missing"
    if made is None:
        return None if live.deleted else "extra"
    return "different"


def passed_by_one_only(version: int, partition: int, ahead: Positions, behind: Positions) -> bool:
    """Whether a state may be of an event that one side has passed and the other has not: too early to compare.

    `partition` is the one that the memory's events lie in: an offset says nothing of another partition. A side that
    has no position at all of a topic is no side that has not come so far yet: it lacks everything.
    """
    offset = version & OFFSET_MASK
    return any(
        behind[topic].get(partition, 0) <= offset < ends.get(partition, 0)
        for topic, ends in ahead.items()
        if behind.get(topic)
    )


class Tally:
    def __init__(self) -> None:
        self.compared = 0
        self._ids: dict[Kind, int] = {"missing": 0, "extra": 0, "different": 0}
        self._examples: dict[str, list[str]] = {}

    def count(self, kind: Kind, id: str) -> None:
        self._ids[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < 10:
            examples.append(id)

    def difference(self) -> Difference:
        n = self._ids
        return Difference(self.compared, n["missing"], n["extra"], n["different"], 0, self._examples)
