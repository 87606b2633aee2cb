"""The canonical group of strings: a regular language, bounds of length, words taken out, and what only the
validator understands (formats)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from soma_cli.core.compatibility.assertions import Among, Assertion, Length, Literal, Opaque, Pattern, size_among
from soma_cli.core.compatibility.automaton import LONGEST_WORD, Automaton, TooLarge
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
        self._terms = Terms(meter.spend_some)
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
        if group.least > LONGEST_WORD:
            return Unknown(size_among(literals), f"a text of {group.least} characters was not built")
        try:
            return self._in_language(group)
        except TooLarge:
            literal = next((literal for literal, _ in group.asserted), next(iter(literals)))
            return Unknown(literal, "the automaton of the pattern would be too large")

    def _among(self, group: _Group, texts: Iterable[str]) -> Outcome:
        for text in texts:
            if group.fits(text) and self._allowed(group, text):
                return Found(text)
        return NOTHING

    def _allowed(self, group: _Group, text: str) -> bool:
        return all(accepting(schema_of(assertion))(text) == (literal > 0) for literal, assertion in group.asserted)

    def _in_language(self, group: _Group) -> Outcome:
        """Texts that surely are what is asked for are tried first, then those that may be."""
        if _contradicts(group.asserted):
            return NOTHING
        sure, possible, open_ends = self._bounds(group)
        if not open_ends:
            return self._search(group, self._words(group, possible), None)
        words = itertools.chain(self._examples(group), itertools.islice(self._words(group, sure), _MOST_TRIED))
        if isinstance(found := self._search(group, words, None), Found):
            return found
        return self._search(group, self._words(group, possible), open_ends[0])

    def _bounds(self, group: _Group) -> tuple[Term, Term, list[Literal]]:
        """The texts for which the assertions surely hold, those for which they may, and what keeps the two apart."""
        terms = self._terms
        sure: list[Term] = []
        possible: list[Term] = []
        open_ends: list[Literal] = []
        for literal, assertion in group.asserted:
            least, most = self._language(assertion)
            sure.append(least if literal > 0 else terms.complement(most))
            possible.append(most if literal > 0 else terms.complement(least))
            open_ends += [literal] if least is not most else []
        return terms.both(*sure), terms.both(*possible), open_ends

    def _words(self, group: _Group, term: Term) -> Iterator[str]:
        if term not in self._automata:
            self._automata[term] = Automaton(term, self._terms, self._meter)
        return self._automata[term].words(group.least, group.most)

    def _search(self, group: _Group, words: Iterator[str], open_end: Literal | None) -> Outcome:
        """That there is no text is proved only where the words come to an end."""
        most = None if open_end is None else _MOST_TRIED + len(group.excluded)
        for tried, text in enumerate(words):
            if most is not None and tried > most:
                return Unknown(open_end or 0, "no text was found for this, and it was not proved that there is none")
            if group.fits(text) and self._allowed(group, text):
                return Found(text)
        return NOTHING

    def _examples(self, group: _Group) -> Iterator[str]:
        for _, assertion in group.asserted:
            if isinstance(assertion, Opaque):
                yield from EXAMPLES.get(assertion.schema, ())

    def _language(self, assertion: Pattern | Opaque) -> Language:
        """Bounds of what the assertion accepts."""
        key = schema_of(assertion)
        if key not in self._languages:
            self._languages[key] = self._find_language(assertion)
        return self._languages[key]

    def _find_language(self, assertion: Pattern | Opaque) -> Language:
        terms = self._terms
        pattern = assertion.text if isinstance(assertion, Pattern) else FORMAT_PATTERNS.get(assertion.schema, "")
        try:
            found = language_of(pattern, terms)
        except NoPattern:
            found = Language(terms.none, terms.anything)
        return found if isinstance(assertion, Pattern) else Language(terms.none, found.most)


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
