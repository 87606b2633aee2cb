"""The automaton of a language: whether it is empty, and its words, shortest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.language import ANY, Ranges, Term, Terms

_MOST_STATES = 50_000
_LONGEST_WORD = 200_000
_NICE = [*map(ord, "a0A-_. /:@xbc1")]
"""Characters that a person would take, in this order."""


class TooLarge(Exception):
    """The automaton, or a word, would be too large."""


class Automaton:
    """The states are the derivatives of the term. Raises TooLarge, or BudgetSpent, while it is made."""

    def __init__(self, term: Term, terms: Terms, meter: Meter) -> None:
        self._meter = meter
        self._classes = _classes(term)
        states: dict[Term, int] = {term: 0}
        self._next: list[list[int]] = []
        self._known_ways: dict[tuple[int, frozenset[int]], list[tuple[Ranges, int]]] = {}
        queue = [term]
        for state in queue:
            meter.spend(1 + len(self._classes) // 8)
            row = []
            for ranges in self._classes:
                following = terms.derivative(state, ranges[0][0])
                if following not in states:
                    states[following] = len(queue)
                    queue.append(following)
                row.append(states[following])
            self._next.append(row)
            if len(queue) > _MOST_STATES:
                raise TooLarge
        self._accepting = frozenset(number for number, state in enumerate(queue) if state.nullable)

    def words(self, shortest: int = 0, longest: int | None = None) -> Iterator[str]:
        """Its texts of such lengths, shortest first; ends where there are no more. Raises TooLarge."""
        distance = self._distances()
        if 0 not in distance or (longest is not None and longest < max(shortest, distance[0])):
            return
        if shortest <= distance[0]:
            yield self._nearest(distance)
        yield from self._by_length(max(shortest, distance[0]), longest)

    def _distances(self) -> dict[int, int]:
        """How far acceptance is from each state from where it can be reached."""
        before: dict[int, set[int]] = {}
        for number, row in enumerate(self._next):
            for following in row:
                before.setdefault(following, set()).add(number)
        distance = dict.fromkeys(self._accepting, 0)
        queue = list(self._accepting)
        for state in queue:  # grows while it is read
            for number in before.get(state, ()):
                if number not in distance:
                    distance[number] = distance[state] + 1
                    queue.append(number)
        return distance

    def _nearest(self, distance: dict[int, int]) -> str:
        text, state = "", 0
        while distance[state]:
            closer = frozenset(
                following for following in self._next[state] if distance.get(following, -1) == distance[state] - 1
            )
            character, state = next(self._steps(state, closer))
            text += character
        return text

    def _by_length(self, shortest: int, longest: int | None) -> Iterator[str]:
        if shortest > _LONGEST_WORD:
            raise TooLarge
        leads = [self._accepting]  # leads[n]: the states from which n characters lead to acceptance
        length, barren = 0, 0
        while (longest is None or length <= longest) and barren <= len(self._next):
            if length > _LONGEST_WORD:
                raise TooLarge
            if length >= shortest:
                barren = 0 if 0 in leads[length] else barren + 1
                if not barren:
                    yield from self._of_length(length, leads)
            settled = length > 0 and leads[length] == leads[length - 1]
            leads.append(leads[length] if settled else self._before(leads[length]))
            if not leads[-1]:
                return
            length += 1

    def _before(self, states: frozenset[int]) -> frozenset[int]:
        self._meter.spend_some(len(self._next))
        return frozenset(number for number, row in enumerate(self._next) if not states.isdisjoint(row))

    def _of_length(self, length: int, leads: list[frozenset[int]]) -> Iterator[str]:
        """Depth first, without recursion: one iterator of (character, state) for each place."""
        if length == 0:
            yield ""
            return
        text: list[str] = []
        trail = [self._steps(0, leads[length - 1])]
        while trail:
            self._meter.spend_some(1)
            step = next(trail[-1], None)
            if step is None:
                trail.pop()
                if text:
                    text.pop()
                continue
            character, state = step
            if len(trail) == length:
                yield "".join(text) + character
            else:
                text.append(character)
                trail.append(self._steps(state, leads[length - 1 - len(trail)]))

    def _steps(self, state: int, leading: frozenset[int]) -> Iterator[tuple[str, int]]:
        """What may come next so that acceptance is still in reach, nice characters first."""
        ways = self._ways(state, leading)
        for code in _NICE:
            yield from ((chr(code), following) for ranges, following in ways if _has(ranges, code))
        for ranges, following in ways:
            for code in _codes(ranges):
                if code not in _NICE:
                    yield chr(code), following

    def _ways(self, state: int, leading: frozenset[int]) -> list[tuple[Ranges, int]]:
        key = (state, leading)
        if key not in self._known_ways:
            ways = [way for way in zip(self._classes, self._next[state], strict=True) if way[1] in leading]
            self._known_ways[key] = sorted(ways, key=lambda way: _plainness(way[0]))
        return self._known_ways[key]


def _has(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _plainness(ranges: Ranges) -> tuple[bool, int]:
    """Printable ASCII before the rest, in order."""
    code = next(_codes(ranges))
    return (not 32 < code < 127, code)


def _codes(ranges: Ranges) -> Iterator[int]:
    """Printable ASCII first."""
    for low, high in ranges:
        yield from range(max(low, 33), min(high, 126) + 1)
    for low, high in ranges:
        yield from range(low, min(high, 32) + 1)
        yield from range(max(low, 127), high + 1)


def _classes(term: Term) -> list[Ranges]:
    """Characters that the term cannot tell apart, as classes that cover all characters."""
    sets = sorted(_sets(term))
    cuts = sorted({edge for ranges in (ANY, *sets) for low, high in ranges for edge in (low, high + 1)})
    classes: dict[frozenset[int], list[tuple[int, int]]] = {}
    for low, above in itertools.pairwise(cuts):
        if _has(ANY, low):
            members = frozenset(number for number, ranges in enumerate(sets) if _has(ranges, low))
            classes.setdefault(members, []).append((low, above - 1))
    return [tuple(ranges) for ranges in classes.values()]


def _sets(term: Term) -> set[Ranges]:
    found: set[Ranges] = set()
    seen: set[Term] = set()
    queue = [term]
    while queue:
        part = queue.pop()
        if part not in seen:
            seen.add(part)
            found.update([part.ranges] if part.kind == "set" else [])
            queue.extend(part.parts)
    return found
