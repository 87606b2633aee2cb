"""The automaton of a language: whether it is empty, and its words, shortest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.language import ANY, Ranges, Term, Terms

_MOST_STATES = 20_000
_LONGEST_WORD = 20_000
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
        leads = [self._accepting]  # leads[n]: the states from which n characters lead to acceptance
        length, barren = 0, 0
        while (longest is None or length <= longest) and barren <= len(self._next):
            if length > _LONGEST_WORD:
                raise TooLarge
            if length >= shortest:
                barren = 0 if 0 in leads[length] else barren + 1
                if not barren:
                    yield from self._of_length(length, leads)
            leads.append(self._before(leads[length]))
            if not leads[-1]:
                return
            length += 1

    def _before(self, states: frozenset[int]) -> frozenset[int]:
        self._meter.spend(1 + len(self._next) // 16)
        return frozenset(number for number, row in enumerate(self._next) if not states.isdisjoint(row))

    def _of_length(self, length: int, leads: list[frozenset[int]]) -> Iterator[str]:
        """Depth first, without recursion: one iterator of (character, state) for each place."""
        if length == 0:
            yield ""
            return
        text: list[str] = []
        trail = [self._steps(0, leads[length - 1])]
        while trail:
            self._meter.spend()
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
        ways = [(ranges, following) for ranges, following in zip(self._classes, self._next[state], strict=True)]
        ways = [way for way in ways if way[1] in leading]
        nice = [(code, following) for code in _NICE for ranges, following in ways if _has(ranges, code)]
        for code, following in nice:
            yield chr(code), following
        for ranges, following in sorted(ways, key=lambda way: _plainness(way[0])):
            for code in _codes(ranges):
                if code not in _NICE:
                    yield chr(code), following


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
