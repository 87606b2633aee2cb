"""Regular languages of Unicode text as terms, and their derivatives (Brzozowski 1964; Owens et al. 2009).

The derivative of a language by a character holds what may follow that character. Derivatives go through intersection
and complement as they do through union, so that "matches this and not that" needs no construction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
"""Characters as sorted code point ranges, both ends included."""

LAST = 0x10FFFF
ANY: Ranges = ((0, 0xD7FF), (0xE000, LAST))
"""Every character: surrogates are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A language. Terms of one `Terms` are equal only where they are the same object; `nullable`: has the empty text.

    kind: none | empty | set | cat | or | and | not | repeat.
    """

    serial: int
    kind: str
    nullable: bool
    ranges: Ranges = ()
    parts: tuple[Term, ...] = ()
    least: int = 0
    most: int | None = None


class Terms:
    """Makes terms, each once, simplified so that derivatives stay few."""

    def __init__(self, spend: Callable[[int], None] = lambda _: None) -> None:
        """`spend` is told how much work is done, and may end it."""
        self._spend = spend
        self._known: dict[tuple[object, ...], Term] = {}
        self._derivatives: dict[tuple[Term, int], Term] = {}
        self.none = self._term("none", False)
        self.empty = self._term("empty", True)
        self.anything = self.repeat(self.characters(ANY), 0, None)
        self.something = self.repeat(self.characters(ANY), 1, None)

    def characters(self, ranges: Ranges) -> Term:
        return self._term("set", False, ranges=ranges) if ranges else self.none

    def text(self, text: str) -> Term:
        return self.sequence(*(self.characters(((ord(character), ord(character)),)) for character in text))

    def sequence(self, *parts: Term) -> Term:
        flat: list[Term] = []
        for part in parts:
            flat.extend(part.parts if part.kind == "cat" else (part,))
        if self.none in flat:
            return self.none
        flat = [part for part in flat if part is not self.empty]
        if len(flat) < 2:
            return flat[0] if flat else self.empty
        return self._term("cat", all(part.nullable for part in flat), parts=tuple(flat))

    def union(self, *parts: Term) -> Term:
        flat = self._flat("or", parts)
        flat.discard(self.none)
        if self.anything in flat:
            return self.anything
        if len(flat) < 2:
            return flat.pop() if flat else self.none
        return self._term("or", any(part.nullable for part in flat), parts=self._sorted(flat))

    def both(self, *parts: Term) -> Term:
        """The intersection."""
        flat = self._flat("and", parts)
        flat.discard(self.anything)
        if self.none in flat or any(self.complement(part) in flat for part in flat):
            return self.none
        if len(flat) < 2:
            return flat.pop() if flat else self.anything
        return self._term("and", all(part.nullable for part in flat), parts=self._sorted(flat))

    def complement(self, part: Term) -> Term:
        if part.kind == "not":
            return part.parts[0]
        if part is self.none:
            return self.anything
        if part is self.anything:
            return self.none
        return self._term("not", not part.nullable, parts=(part,))

    def repeat(self, part: Term, least: int, most: int | None) -> Term:
        if most == 0 or part is self.empty:
            return self.empty
        if part is self.none:
            return self.empty if least == 0 else self.none
        if (least, most) == (1, 1) or (part.kind == "repeat" and (part.least, part.most, least) == (0, None, 0)):
            return part
        return self._term("repeat", least == 0 or part.nullable, parts=(part,), least=least, most=most)

    def derivative(self, term: Term, character: int) -> Term:
        """What may follow the character in the texts of the term."""
        key = (term, character)
        if (known := self._derivatives.get(key)) is None:
            known = self._derivatives[key] = self._derive(term, character)
        return known

    def _derive(self, term: Term, character: int) -> Term:
        parts = term.parts
        self._spend(1 + len(parts))
        match term.kind:
            case "set":
                return self.empty if contains(term.ranges, character) else self.none
            case "cat":
                return self._derive_sequence(parts, character)
            case "or":
                return self.union(*[self.derivative(part, character) for part in parts])
            case "and":
                return self.both(*[self.derivative(part, character) for part in parts])
            case "not":
                return self.complement(self.derivative(parts[0], character))
            case "repeat":
                most = None if term.most is None else term.most - 1
                rest = self.repeat(parts[0], max(term.least - 1, 0), most)
                return self.sequence(self.derivative(parts[0], character), rest)
        return self.none

    def _derive_sequence(self, parts: tuple[Term, ...], character: int) -> Term:
        branches = []
        for place, part in enumerate(parts):
            branches.append(self.sequence(self.derivative(part, character), *parts[place + 1 :]))
            if not part.nullable:
                break
        return self.union(*branches)

    def _flat(self, kind: str, parts: tuple[Term, ...]) -> set[Term]:
        flat: set[Term] = set()
        for part in parts:
            flat.update(part.parts if part.kind == kind else (part,))
        return flat

    def _sorted(self, parts: set[Term]) -> tuple[Term, ...]:
        return tuple(sorted(parts, key=lambda part: part.serial))

    def _term(
        self,
        kind: str,
        nullable: bool,
        ranges: Ranges = (),
        parts: tuple[Term, ...] = (),
        least: int = 0,
        most: int | None = None,
    ) -> Term:
        key = (kind, ranges, parts, least, most)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = Term(len(self._known), kind, nullable, ranges, parts, least, most)
        return known


def contains(ranges: Ranges, character: int) -> bool:
    return any(low <= character <= high for low, high in ranges)


def union_of(*several: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in several for pair in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def all_but(ranges: Ranges) -> Ranges:
    """The characters that are not in sorted ranges."""
    kept: list[tuple[int, int]] = []
    for low, high in ANY:
        start = low
        for taken_low, taken_high in ranges:
            if taken_low <= high and taken_high >= start:
                if start < taken_low:
                    kept.append((start, taken_low - 1))
                start = max(start, taken_high + 1)
        if start <= high:
            kept.append((start, high))
    return tuple(kept)


def common(a: Ranges, b: Ranges) -> Ranges:
    """The characters of both."""
    found = ((max(low, other_low), min(high, other_high)) for low, high in a for other_low, other_high in b)
    return tuple(sorted((low, high) for low, high in found if low <= high))
