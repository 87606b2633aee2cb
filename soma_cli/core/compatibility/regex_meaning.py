"""The texts in which a pattern finds a match, as a language.

A part of a pattern is read from its end: given the texts that may follow it up to the end of the whole text, it makes
the texts that may follow what stands before it. So lookahead is an intersection, and an anchor a condition on what
stands before, of which only this matters: something, or nothing.

What has no exact translation is replaced by what matches at least as much, and again by what matches at most as much.
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
    """The texts that match are all in `most`, and all of `least` are among them."""

    least: Term
    most: Term

    @property
    def exact(self) -> bool:
        return self.least is self.most


class _Rest(NamedTuple):
    """The texts from some place on to the end: at the start of the whole text, and later."""

    at_start: Term
    later: Term


def language_of(pattern: str, terms: Terms) -> Language:
    """Raises NoPattern."""
    regex = parse(pattern)
    least, most = (_found_anywhere(regex, terms, generous=generous) for generous in (False, True))
    return Language(least, most)


def _found_anywhere(regex: Regex, terms: Terms, *, generous: bool) -> Term:
    rest = _Reading(terms, generous=generous).before(regex, _Rest(terms.anything, terms.anything))
    if rest.at_start is rest.later:
        return terms.sequence(terms.anything, rest.later)
    return terms.union(rest.at_start, terms.sequence(terms.something, rest.later))


class _Reading:
    def __init__(self, terms: Terms, *, generous: bool) -> None:
        self._terms = terms
        self._generous = generous

    def before(self, regex: Regex, rest: _Rest) -> _Rest:
        """The texts that begin with a match of the regex and go on with the rest."""
        terms = self._terms
        match regex:
            case Character():
                found = terms.sequence(self._characters(regex), rest.later)
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
                return self._inexact(rest, longer=longer)

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
            return self._many_rounds(part, least, most, rest)
        found = rest
        for number in range(most, 0, -1):
            once = self.before(part, found)
            found = once if number <= least else self._united([once, rest])
        return found

    def _many_rounds(self, part: Regex, least: int, most: int | None, rest: _Rest) -> _Rest:
        """At least: no round; at most: what the rounds match where nothing is asked of what stands around them."""
        if not self._generous:
            return rest if least == 0 else self._inexact(rest, longer=True)
        found = self._plain(_without_lookahead(part))
        if found is None:
            return self._inexact(rest, longer=True)
        after = self._terms.sequence(self._terms.repeat(found, least, most), self._terms.union(*rest))
        return _Rest(after, after)

    def _plain(self, regex: Regex) -> Term | None:
        """What the regex matches, if that does not depend on what stands around it."""
        terms = self._terms
        match regex:
            case Character():
                return self._characters(regex)
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
        """To deny what matches at most is to match at least, and the other way round."""
        terms = self._terms
        reading = _Reading(terms, generous=self._generous != denied)
        ahead = reading.before(part, _Rest(terms.anything, terms.anything))
        wanted = [terms.complement(term) if denied else term for term in ahead]
        return _Rest(*(terms.both(term, want) for term, want in zip(rest, wanted, strict=True)))

    def _characters(self, regex: Character) -> Term:
        return self._terms.characters(regex.most if self._generous else regex.least)

    def _inexact(self, rest: _Rest, *, longer: bool) -> _Rest:
        terms = self._terms
        if not self._generous:
            return _Rest(terms.none, terms.none)
        found = terms.sequence(terms.anything, terms.union(*rest))
        return _Rest(found, found) if longer else rest


def _without_lookahead(regex: Regex) -> Regex:
    match regex:
        case Ahead():
            return Sequence(())
        case Sequence(parts):
            return Sequence(tuple(map(_without_lookahead, parts)))
        case Choice(parts):
            return Choice(tuple(map(_without_lookahead, parts)))
        case Repeat(part, least, most):
            return Repeat(_without_lookahead(part), least, most)
    return regex
