"""The canonical group of strings: a regular language, bounds of length, words taken out, and what only the
validator understands (formats)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from soma_cli.core.compatibility.assertions import Among, Assertion, Length, Literal, Opaque, Pattern
from soma_cli.core.compatibility.automaton import Automaton, TooLarge
from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.formats import EXAMPLES, FORMAT_PATTERNS, NARROWER
from soma_cli.core.compatibility.language import Term, Terms
from soma_cli.core.compatibility.outcome import NOTHING, Found, Outcome, Unknown
from soma_cli.core.compatibility.regex_meaning import Language, language_of
from soma_cli.core.compatibility.regex_syntax import NoPattern
from soma_cli.core.compatibility.validation import accepting

_MOST_TRIED = 300


@dataclass(slots=True)
class _Group:
    least: int = 0
    most: int | None = None
    only: frozenset[str] | None = None
    excluded: set[str] = field(default_factory=set)
    asserted: list[tuple[Literal, Pattern | Opaque]] = field(default_factory=list)

    def fits(self, text: str) -> bool:
        """Whether length and the sets of words allow the text."""
        short_enough = self.most is None or len(text) <= self.most
        return self.least <= len(text) and short_enough and text not in self.excluded


class Strings:
    """Finds strings. Keeps the automata it has made."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._terms = Terms()
        self._languages: dict[str, Language] = {}
        self._automata: dict[Term, Automaton] = {}

    def matches(self, pattern: str, text: str) -> bool:
        """Whether the validator finds a match in the text."""
        return accepting(json.dumps({"pattern": pattern}))(text)

    def witness(self, literals: dict[Literal, Assertion]) -> Outcome:
        group = _group(literals)
        if group.most is not None and group.most < group.least:
            return NOTHING
        if group.only is not None:
            return self._among(group, sorted(group.only, key=lambda text: (len(text), text)))
        try:
            return self._in_language(group)
        except TooLarge:
            literal = next((literal for literal, _ in group.asserted), next(iter(literals)))
            return Unknown(literal, "the automaton of the pattern, or the shortest text, is too large")

    def _among(self, group: _Group, texts: Iterable[str]) -> Outcome:
        for text in texts:
            if group.fits(text) and self._allowed(group, text):
                return Found(text)
        return NOTHING

    def _allowed(self, group: _Group, text: str) -> bool:
        return all(accepting(schema_of(assertion))(text) == (literal > 0) for literal, assertion in group.asserted)

    def _in_language(self, group: _Group) -> Outcome:
        bounds: list[Term] = []
        open_ends: list[Literal] = []
        for literal, assertion in group.asserted:
            language = self._language(assertion)
            if literal > 0:
                bounds.append(language.term)
            elif language.exact:
                bounds.append(self._terms.complement(language.term))
            if not language.exact:
                open_ends.append(literal)
        if _contradicts(group.asserted):
            return NOTHING
        words = self._automaton(self._terms.both(*bounds)).words(group.least, group.most)
        return self._search(group, words, open_ends)

    def _search(self, group: _Group, words: Iterator[str], open_ends: list[Literal]) -> Outcome:
        """Words are tried until one is allowed; that there is none is proved only where the words come to an end."""
        if open_ends:
            for text in self._examples(group):
                if group.fits(text) and self._allowed(group, text):
                    return Found(text)
        most = _MOST_TRIED + len(group.excluded) if open_ends else None
        for tried, text in enumerate(words):
            if most is not None and tried > most:
                return Unknown(open_ends[0], "no text was found for this, and it was not proved that there is none")
            if group.fits(text) and self._allowed(group, text):
                return Found(text)
        return NOTHING

    def _examples(self, group: _Group) -> Iterator[str]:
        for _, assertion in group.asserted:
            if isinstance(assertion, Opaque):
                yield from EXAMPLES.get(assertion.schema, ())

    def _language(self, assertion: Pattern | Opaque) -> Language:
        """What the assertion accepts, or at least that."""
        key = schema_of(assertion)
        if key not in self._languages:
            pattern = assertion.text if isinstance(assertion, Pattern) else FORMAT_PATTERNS.get(assertion.schema)
            exact = isinstance(assertion, Pattern)
            try:
                found = language_of(pattern or "", self._terms)
            except NoPattern:
                found, exact = Language(self._terms.anything, False), False
            self._languages[key] = Language(found.term, found.exact and exact)
        return self._languages[key]

    def _automaton(self, term: Term) -> Automaton:
        if term not in self._automata:
            self._automata[term] = Automaton(term, self._terms, self._meter)
        return self._automata[term]


def schema_of(assertion: Pattern | Opaque) -> str:
    return json.dumps({"pattern": assertion.text}) if isinstance(assertion, Pattern) else assertion.schema


def _contradicts(asserted: list[tuple[Literal, Pattern | Opaque]]) -> bool:
    """A format is asserted, and a wider one denied."""
    yes = [assertion.schema for literal, assertion in asserted if literal > 0 and isinstance(assertion, Opaque)]
    no = [assertion.schema for literal, assertion in asserted if literal < 0 and isinstance(assertion, Opaque)]
    return any(pair in NARROWER for pair in itertools.product(yes, no))


def _group(literals: dict[Literal, Assertion]) -> _Group:
    group = _Group()
    for literal, assertion in literals.items():
        if isinstance(assertion, Length):
            if literal > 0:
                group.least = max(group.least, assertion.least)
            else:
                group.most = assertion.least - 1 if group.most is None else min(group.most, assertion.least - 1)
        elif isinstance(assertion, Among):
            texts = frozenset(text for text in assertion.values if isinstance(text, str))
            if literal < 0:
                group.excluded |= texts
            else:
                group.only = texts if group.only is None else group.only & texts
        elif isinstance(assertion, Pattern | Opaque):
            group.asserted.append((literal, assertion))
    return group
