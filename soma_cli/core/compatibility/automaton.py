"""The automaton of a language: whether it is empty, and its words, shortest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.language import ANY, Ranges, Term, Terms

_MOST_STATES = 50_000
LONGEST_WORD = 200_000
_NICE = [*map(ord, "a0A-_. /:@xbc1")]
"""Characters that a person would take, in this order."""


class TooLarge(Exception):
    """The automaton, or a word, would be too large."""


class Automaton:
    """The states are the derivatives of the term, made as they are needed. Raises TooLarge, or BudgetSpent."""

    def __init__(self, term: Term, terms: Terms, meter: Meter) -> None:
        self._terms = terms
        self._meter = meter
        self._classes = sorted(_classes(term), key=_niceness)
        self._numbers: dict[Term, int] = {term: 0}
        self._states = [term]
        self._came_by: list[tuple[int, str]] = [(0, "")]
        self._next: list[list[int]] = []
        self._accepting: frozenset[int] = frozenset()
        self._known_ways: dict[tuple[int, frozenset[int]], list[tuple[Ranges, int]]] = {}

    def words(self, shortest: int = 0, longest: int | None = None) -> Iterator[str]:
        """Its texts of such lengths, shortest first (the first one may come twice); ends where there are no more."""
        early = self._first_word(shortest)
        if early is not None and (longest is None or len(early) <= longest):
            yield early
        while len(self._next) < len(self._states):
            self._grow()
        self._accepting = frozenset(number for number, state in enumerate(self._states) if state.nullable)
        distance = self._distance()
        if distance is not None and (longest is None or longest >= max(shortest, distance)):
            yield from self._by_length(max(shortest, distance), longest)

    def _first_word(self, shortest: int) -> str | None:
        """The way to the nearest accepting state, if it is long enough; no more states are made than that takes."""
        for number in itertools.count():
            if number == len(self._next) and number < len(self._states):
                self._grow()
            if number >= len(self._states):
                return None
            if self._states[number].nullable and len(word := self._way_to(number)) >= shortest:
                return word
        return None

    def _way_to(self, state: int) -> str:
        word: list[str] = []
        while state:
            state, character = self._came_by[state]
            word.append(character)
        return "".join(reversed(word))

    def _grow(self) -> None:
        """Make the states behind the next one."""
        self._meter.spend(1 + len(self._classes) // 8)
        number = len(self._next)
        row = []
        for ranges in self._classes:
            following = self._terms.derivative(self._states[number], ranges[0][0])
            if following not in self._numbers:
                self._numbers[following] = len(self._states)
                self._states.append(following)
                self._came_by.append((number, chr(_nicest(ranges))))
            row.append(self._numbers[following])
        self._next.append(row)
        if len(self._states) > _MOST_STATES:
            raise TooLarge

    def _distance(self) -> int | None:
        """How far the nearest accepting state is; None if none can be reached."""
        found = next((number for number in range(len(self._states)) if number in self._accepting), None)
        return None if found is None else len(self._way_to(found))

    def _by_length(self, shortest: int, longest: int | None) -> Iterator[str]:
        if shortest > LONGEST_WORD:
            raise TooLarge
        leads = [self._accepting]  # leads[n]: the states from which n characters lead to acceptance
        length, barren = 0, 0
        while (longest is None or length <= longest) and barren <= len(self._next):
            if length > LONGEST_WORD:
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
            self._known_ways[key] = ways
        return self._known_ways[key]


def _has(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _nicest(ranges: Ranges) -> int:
    return next((code for code in _NICE if _has(ranges, code)), next(_codes(ranges)))


def _niceness(ranges: Ranges) -> tuple[int, bool, int]:
    """What a person would take first, then printable ASCII, then the rest, in order."""
    code = _nicest(ranges)
    return (_NICE.index(code) if code in _NICE else len(_NICE), not 32 < code < 127, code)


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
