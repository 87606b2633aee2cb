"""The canonical group of arrays: an assertion for each place, for all later places, and for some place."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from soma_cli.core.compatibility.assertions import (
    Assertion,
    Contains,
    Item,
    Items,
    Length,
    Literal,
    Unique,
    size_among,
)
from soma_cli.core.compatibility.equality import key_of
from soma_cli.core.compatibility.outcome import NOTHING, Found, Nothing, Outcome, Unknown, built

Goal = frozenset[Literal]
_LONGEST = 200_000
_LONGEST_UNIQUE = 100


class Solver(Protocol):
    """The search, as the groups need it."""

    def solve(self, goal: Goal) -> Outcome: ...

    def distinct(self, goal: Goal, count: int) -> tuple[list[Found], Unknown | None]:
        """Up to so many different values; with fewer, None says that there are no more."""
        ...


@dataclass(slots=True)
class _Group:
    least: int = 0
    most: int | None = None
    at: dict[int, list[Literal]] = field(default_factory=dict)
    onwards: list[tuple[int, Literal]] = field(default_factory=list)
    somewhere: list[tuple[int, Literal]] = field(default_factory=list)
    """(first place where it may be, what an item is): each needs an item, and two may share one."""
    unique: Literal = 0

    def goal(self, place: int) -> Goal:
        return frozenset(self.at.get(place, [])).union(value for start, value in self.onwards if start <= place)

    def prefix(self) -> int:
        """From this place on, all places are alike."""
        starts = [start for start, _ in (*self.onwards, *self.somewhere)]
        return max([0, *starts, *(place + 1 for place in self.at)])


def witness(literals: dict[Literal, Assertion], solver: Solver) -> Outcome:
    """An array for which all the literals hold: the shortest length first.

    More places than the prefix, one for each thing that must be somewhere, and two for a repeated item are never
    needed: an item that nothing asks for can be taken out.
    """
    group = _group(literals)
    prefix = group.prefix()
    longest = max(group.least, prefix + len(group.somewhere) + (2 if group.unique < 0 else 0))
    if group.most is not None:
        longest = min(longest, group.most)
    longest = min(longest, _room(group, min(longest, prefix + 1), solver))
    if longest < group.least:
        return NOTHING
    if group.least > (_LONGEST_UNIQUE if group.unique > 0 else _LONGEST):
        return Unknown(size_among(literals), f"an array of {group.least} items was not built")
    unknown: Unknown | None = None
    for length in range(group.least, longest + 1):
        outcome = _of_length(group, length, prefix, solver)
        if isinstance(outcome, Found):
            return outcome
        unknown = outcome if isinstance(outcome, Unknown) else unknown
    return unknown or NOTHING


def _group(literals: dict[Literal, Assertion]) -> _Group:
    group = _Group()
    for literal, assertion in literals.items():
        holds = literal > 0
        match assertion:
            case Length(_, least) if holds:
                group.least = max(group.least, least)
            case Length(_, least):
                group.most = least - 1 if group.most is None else min(group.most, least - 1)
            case Item(place, value):
                group.at.setdefault(place, []).append(value if holds else -value)
                group.least = group.least if holds else max(group.least, place + 1)
            case Items(start, value):
                (group.onwards if holds else group.somewhere).append((start, value if holds else -value))
            case Contains(value):
                (group.somewhere if holds else group.onwards).append((0, value if holds else -value))
            case Unique():
                group.unique = literal
    return group


def _room(group: _Group, places: int, solver: Solver) -> int:
    """How many items there can be; a place that takes nothing ends the array."""
    for place in range(places):
        if isinstance(solver.solve(group.goal(place)), Nothing):
            return place
    return 1 << 62


def _of_length(group: _Group, length: int, prefix: int, solver: Solver) -> Outcome:
    unknown: Unknown | None = None
    for goals in _arrangements(group, length, prefix, solver):
        outcome = _items(goals, solver, unique=group.unique > 0)
        if isinstance(outcome, Found):
            return outcome
        unknown = outcome if isinstance(outcome, Unknown) else unknown
    return unknown or NOTHING


def _arrangements(group: _Group, length: int, prefix: int, solver: Solver) -> Iterator[list[tuple[Goal, int]]]:
    """The ways to put what must be somewhere: for each place a goal, and the first place that must be equal to it."""
    goals = [group.goal(place) for place in range(length)]
    for placed in _placed(goals, group.somewhere, prefix, solver):
        if group.unique >= 0:
            yield [(goal, place) for place, goal in enumerate(placed)]
            continue
        last = min(length, prefix + len(group.somewhere) + 2)
        for second in range(last):
            for first in range(second):
                both = placed[first] | placed[second]
                same = [(goal, place) for place, goal in enumerate(placed)]
                same[first], same[second] = (both, first), (both, first)
                yield same


def _placed(
    goals: list[Goal], somewhere: list[tuple[int, Literal]], prefix: int, solver: Solver
) -> Iterator[list[Goal]]:
    if not somewhere:
        yield goals
        return
    (start, value), rest = somewhere[0], somewhere[1:]
    tails: set[Goal] = set()
    for place in range(start, len(goals)):
        if place >= prefix and goals[place] in tails:
            continue  # a later place with the same goal is as good
        tails.update([goals[place]] if place >= prefix else [])
        goal = goals[place] | {value}
        if not isinstance(solver.solve(goal), Nothing):
            yield from _placed([*goals[:place], goal, *goals[place + 1 :]], rest, prefix, solver)


def _items(goals: list[tuple[Goal, int]], solver: Solver, *, unique: bool) -> Outcome:
    if unique and len(goals) > 1:
        return _different([goal for goal, _ in goals], solver)
    parts: list[Found] = []
    for place, (goal, same_as) in enumerate(goals):
        outcome = parts[same_as] if same_as < place else solver.solve(goal)
        if not isinstance(outcome, Found):
            return outcome
        parts.append(outcome)
    return built([part.value for part in parts], parts, next(iter(goals[0][0]), 0) if goals else 0)


def _different(goals: list[Goal], solver: Solver) -> Outcome:
    """One value for each goal, no two equal: a matching, for which each goal needs no more values than there are
    places (Hall)."""
    offers: dict[Goal, dict[Hashable, Found]] = {}
    unknown: Unknown | None = None
    for goal in goals:
        if goal not in offers:
            found, stop = solver.distinct(goal, len(goals))
            unknown = unknown or stop
            offers[goal] = {key_of(one.value): one for one in found}
    taken: dict[Hashable, int] = {}
    for place in range(len(goals)):
        if not _match(place, goals, offers, taken, set()):
            return unknown or NOTHING
    items = [offers[goals[place]][key] for key, place in sorted(taken.items(), key=lambda item: item[1])]
    return built([item.value for item in items], items, next(iter(goals[0]), 0))


def _match(
    place: int,
    goals: list[Goal],
    offers: dict[Goal, dict[Hashable, Found]],
    taken: dict[Hashable, int],
    tried: set[Hashable],
) -> bool:
    """Find a value for the place, moving others where that is needed."""
    keys = [key for key in offers[goals[place]] if key not in tried]
    for key in keys:
        if key not in taken:
            taken[key] = place
            return True
    for key in keys:
        tried.add(key)
        if _match(taken[key], goals, offers, taken, tried):
            taken[key] = place
            return True
    return False
