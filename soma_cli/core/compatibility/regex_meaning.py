"""The texts in which a pattern finds a match, as a language.

A part of a pattern is read from its end: given the texts that may follow it up to the end of the whole text, it makes
the texts that may follow what stands before it. So lookahead is an intersection, and an anchor a condition on what
stands before, of which only this matters: something, or nothing.

What has no exact translation is replaced by what matches at least as much: the language is then an upper bound.
"""

from __future__ import annotations

from typing import NamedTuple

from soma_cli.core.compatibility.language import Term, Terms
from soma_cli.core.compatibility.regex_syntax import (
    Ahead,
    Character,
    Choice,
    End,
    Inexact,
    Regex,
    Repeat,
    Sequence,
    Start,
    parse,
)

_MOST_ROUNDS = 4


class Language(NamedTuple):
    """`exact`: the texts are those that match; else they are at least those."""

    term: Term
    exact: bool


class _Rest(NamedTuple):
    """The texts from some place on to the end: at the start of the whole text, and later."""

    at_start: Term
    later: Term


def language_of(pattern: str, terms: Terms) -> Language:
    """Raises NoPattern."""
    reading = _Reading(terms)
    rest = reading.before(parse(pattern), _Rest(terms.anything, terms.anything))
    found = terms.sequence(terms.anything, rest.later)
    if rest.at_start is not rest.later:
        found = terms.union(rest.at_start, terms.sequence(terms.something, rest.later))
    return Language(found, reading.exact)


class _Reading:
    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.exact = True

    def before(self, regex: Regex, rest: _Rest) -> _Rest:
        """The texts that begin with a match of the regex and go on with the rest."""
        terms = self._terms
        match regex:
            case Character(ranges):
                found = terms.sequence(terms.characters(ranges), rest.later)
                return _Rest(found, found)
            case Sequence(parts):
                for part in reversed(parts):
                    rest = self.before(part, rest)
                return rest
            case Choice(parts):
                return self._united([self.before(part, rest) for part in parts])
            case Repeat(part, least, most):
                return self._repeat(part, least, most, rest)
            case Start():
                return _Rest(rest.at_start, terms.none)
            case End():
                return _Rest(*(terms.empty if term.nullable else terms.none for term in rest))
            case Ahead(part, denied):
                return self._ahead(part, denied, rest)
            case Inexact(longer):
                self.exact = False
                return self._anything_before(rest) if longer else rest

    def _united(self, several: list[_Rest]) -> _Rest:
        return _Rest(*(self._terms.union(*terms) for terms in zip(*several, strict=True)))

    def _repeat(self, part: Regex, least: int, most: int | None, rest: _Rest) -> _Rest:
        terms = self._terms
        if (plain := self._plain(part)) is None:
            return self._rounds(part, least, most, rest)
        found = terms.repeat(plain, least, most)
        later = terms.sequence(found, rest.later)
        if rest.at_start is rest.later:
            return _Rest(later, later)
        longer = terms.sequence(terms.both(found, terms.something), rest.later)
        return _Rest(terms.union(longer, rest.at_start if found.nullable else terms.none), later)

    def _rounds(self, part: Regex, least: int, most: int | None, rest: _Rest) -> _Rest:
        """A repetition whose rounds depend on what stands around them is written out, if it is short."""
        if most is None or most > _MOST_ROUNDS:
            self.exact = False
            return self._anything_before(rest)
        found = rest
        for number in range(most, 0, -1):
            once = self.before(part, found)
            found = once if number <= least else self._united([once, rest])
        return found

    def _plain(self, regex: Regex) -> Term | None:
        """What the regex matches, if that does not depend on what stands around it."""
        terms = self._terms
        match regex:
            case Character(ranges):
                return terms.characters(ranges)
            case Sequence(parts) | Choice(parts):
                found = [self._plain(part) for part in parts]
                kept = [term for term in found if term is not None]
                if len(kept) < len(found):
                    return None
                return terms.sequence(*kept) if isinstance(regex, Sequence) else terms.union(*kept)
            case Repeat(part, least, most):
                inner = self._plain(part)
                return None if inner is None else terms.repeat(inner, least, most)
        return None

    def _ahead(self, part: Regex, denied: bool, rest: _Rest) -> _Rest:
        terms, outside = self._terms, self.exact
        self.exact = True
        ahead = self.before(part, _Rest(terms.anything, terms.anything))
        exact, self.exact = self.exact, self.exact and outside
        if denied and not exact:
            return rest  # to deny an upper bound says nothing
        wanted = [terms.complement(term) if denied else term for term in ahead]
        return _Rest(*(terms.both(term, want) for term, want in zip(rest, wanted, strict=True)))

    def _anything_before(self, rest: _Rest) -> _Rest:
        found = self._terms.sequence(self._terms.anything, self._terms.union(*rest))
        return _Rest(found, found)
