"""The patterns that the validator takes (ECMA 262, as jsonschema-rs reads it), as languages of the texts they match.

What has no exact translation (lookaround, back references, word boundaries, Unicode properties) is replaced by
something that matches at least as much: the language is then an upper bound, and says that it is.
"""

from __future__ import annotations

from typing import NamedTuple

from soma_cli.core.compatibility.language import ANY, Ranges, Term, Terms, all_but, contains, union_of

_DIGITS: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACES: Ranges = union_of(
    ((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    ((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_DOT = all_but(((10, 10), (13, 13), (0x2028, 0x2029)))
_SHORTHANDS = {
    "d": _DIGITS,
    "D": all_but(_DIGITS),
    "w": _WORD,
    "W": all_but(_WORD),
    "s": _SPACES,
    "S": all_but(_SPACES),
}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LARGEST_COUNT = 10_000


class NoPattern(ValueError):
    """The pattern is written in a way that this reading does not know."""


class Language(NamedTuple):
    """`exact`: the texts are those that match; else they are at least those."""

    term: Term
    exact: bool


class _Piece(NamedTuple):
    """What part of a pattern matches, and whether only at the start or the end of the whole text."""

    at_start: bool
    term: Term
    at_end: bool


def language_of(pattern: str, terms: Terms) -> Language:
    """The texts in which the pattern finds a match. Raises NoPattern."""
    return _Reading(pattern, terms).language()


class _Reading:
    def __init__(self, pattern: str, terms: Terms) -> None:
        self._text = pattern
        self._at = 0
        self._terms = terms
        self._exact = True

    def language(self) -> Language:
        pieces = self._alternatives()
        if self._at < len(self._text):
            raise NoPattern(self._text)
        terms, anything = self._terms, self._terms.anything
        whole = [
            terms.sequence(terms.empty if p.at_start else anything, p.term, terms.empty if p.at_end else anything)
            for p in pieces
        ]
        return Language(terms.union(*whole), self._exact)

    def _next(self, expected: str = "") -> str:
        if self._at >= len(self._text) or (expected and self._text[self._at] != expected):
            raise NoPattern(self._text)
        self._at += 1
        return self._text[self._at - 1]

    def _skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _alternatives(self) -> list[_Piece]:
        pieces = self._sequence()
        while self._skip("|"):
            pieces = pieces + self._sequence()
        return _united(pieces, self._terms)

    def _sequence(self) -> list[_Piece]:
        pieces = [_Piece(False, self._terms.empty, False)]
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            pieces = self._after(pieces, self._quantified(self._atom()))
        return pieces

    def _after(self, left: list[_Piece], right: list[_Piece]) -> list[_Piece]:
        """One piece behind the other: before a start, and behind an end, only the empty text has room."""
        joined = []
        for a in left:
            for b in right:
                if (b.at_start and not a.term.nullable) or (a.at_end and not b.term.nullable):
                    continue
                first = self._terms.empty if b.at_start else a.term
                second = self._terms.empty if a.at_end else b.term
                joined.append(
                    _Piece(a.at_start or b.at_start, self._terms.sequence(first, second), a.at_end or b.at_end)
                )
        return _united(joined, self._terms)

    def _atom(self) -> list[_Piece]:
        terms = self._terms
        match character := self._next():
            case "^":
                return [_Piece(True, terms.empty, False)]
            case "$":
                return [_Piece(False, terms.empty, True)]
            case "(":
                return self._group()
            case "[":
                return self._of(self._class())
            case ".":
                return self._of(_DOT)
            case "\\":
                return self._escape()
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise NoPattern(self._text)
        return self._of(((ord(character), ord(character)),))

    def _of(self, ranges: Ranges) -> list[_Piece]:
        return [_Piece(False, self._terms.characters(ranges), False)]

    def _at_least(self, term: Term) -> list[_Piece]:
        """In the place of what cannot be said exactly."""
        self._exact = False
        return [_Piece(False, term, False)]

    def _group(self) -> list[_Piece]:
        around = any(self._skip(mark) for mark in ("?=", "?!", "?<=", "?<!"))
        if not around and self._skip("?<"):
            while self._next() != ">":
                pass
        elif not around and self._skip("?") and not self._skip(":"):
            raise NoPattern(self._text)
        pieces = self._alternatives()
        self._next(")")
        return self._at_least(self._terms.empty) if around else pieces

    def _escape(self) -> list[_Piece]:
        character = self._text[self._at : self._at + 1]
        if character and character in "bB<>":
            self._at += 1
            return self._at_least(self._terms.empty)
        if character.isdigit() or character == "k":
            self._at += 1
            return self._at_least(self._terms.anything)
        return self._of(self._escaped())

    def _escaped(self) -> Ranges:
        """The characters of an escape that stands for characters, inside brackets or outside."""
        character = self._next()
        if character in _SHORTHANDS:
            return _SHORTHANDS[character]
        if character in "pP":
            return self._property()
        if character in "xuc":
            code = self._code(character)
        elif character.isalnum() or character in "<>" or not character.isascii():
            code = _CONTROLS.get(character, -1)
        else:
            code = ord(character)
        if not contains(ANY, code):
            raise NoPattern(self._text)
        return ((code, code),)

    def _property(self) -> Ranges:
        self._exact = False
        self._next("{")
        while self._next() != "}":
            pass
        return ANY

    def _code(self, kind: str) -> int:
        if kind == "c":
            return ord(self._next()) % 32
        if kind == "u" and self._skip("{"):
            end = self._text.find("}", self._at)
        else:
            end = self._at + (2 if kind == "x" else 4)
        digits, self._at = (
            self._text[self._at : max(end, self._at)],
            end + (self._text[end : end + 1] == "}" and kind == "u"),
        )
        try:
            return int(digits, 16)
        except ValueError as error:
            raise NoPattern(self._text) from error

    def _class(self) -> Ranges:
        negated = self._skip("^")
        found: list[Ranges] = []
        while not self._skip("]"):
            low = self._member()
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._member()
                low = self._range(low, high)
            found.append(low)
        ranges = union_of(*found)
        if negated and not self._exact and ranges == ANY:
            return ANY  # the complement of an upper bound is none
        return all_but(ranges) if negated else ranges

    def _member(self) -> Ranges:
        if self._skip("\\"):
            return self._escaped()
        code = ord(self._next())
        return ((code, code),)

    def _range(self, low: Ranges, high: Ranges) -> Ranges:
        if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1] or low > high:
            raise NoPattern(self._text)
        return ((low[0][0], high[0][0]),)

    def _quantified(self, pieces: list[_Piece]) -> list[_Piece]:
        counts = self._counts()
        if counts is None:
            return pieces
        self._skip("?")  # lazy: the same texts
        least, most = counts
        if all(not (piece.at_start or piece.at_end) for piece in pieces):
            return (
                [_Piece(False, self._terms.repeat(pieces[0].term, least, most), False)]
                if pieces
                else ([_Piece(False, self._terms.repeat(self._terms.none, least, most), False)])
            )
        return self._repeated_anchors(pieces, least, most)

    def _repeated_anchors(self, pieces: list[_Piece], least: int, most: int | None) -> list[_Piece]:
        """`(^a|b)?` and the like, written out; more rounds than two are known as an upper bound only."""
        rounds = [_Piece(False, self._terms.empty, False)]
        if (least, most) == (0, 1):
            return _united(rounds + pieces, self._terms)
        if least == most == 1:
            return pieces
        return self._at_least(self._terms.anything)

    def _counts(self) -> tuple[int, int | None] | None:
        for mark, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._skip(mark):
                return counts
        if not self._skip("{"):
            return None
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : max(end, self._at)].partition(",")
        self._at = end + 1
        if not least.isdecimal() or (most and not most.isdecimal()) or len(least) > 5 or len(most) > 5:
            raise NoPattern(self._text)
        if max(int(least), int(most or 0)) > _LARGEST_COUNT:
            raise NoPattern(self._text)
        return int(least), (int(most) if most else None if comma else int(least))


def _united(pieces: list[_Piece], terms: Terms) -> list[_Piece]:
    """Pieces with the same anchors as one."""
    by_anchors: dict[tuple[bool, bool], list[Term]] = {}
    for piece in pieces:
        by_anchors.setdefault((piece.at_start, piece.at_end), []).append(piece.term)
    return [_Piece(start, terms.union(*found), end) for (start, end), found in by_anchors.items()]
