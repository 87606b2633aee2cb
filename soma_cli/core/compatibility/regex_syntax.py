"""The patterns that the validator takes, as trees.

It reads them as ECMA 262 does, until one has something that only its other engine knows (lookaround, references): then
the same shorthand stands for Unicode's digits, words and spaces. Which engine it takes is not ours to know, so that the
characters of such a pattern have a lower and an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from soma_cli.core.compatibility.language import ANY, Ranges, all_but, common, contains, union_of

DIGITS: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACES: Ranges = union_of(
    ((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    ((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_DOT = all_but(((10, 10), (13, 13), (0x2028, 0x2029)))
_NO_NEWLINE = all_but(((10, 10),))
_ASCII: Ranges = ((0, 127),)
_SHORTHANDS = {
    "d": DIGITS,
    "D": all_but(DIGITS),
    "w": WORD,
    "W": all_but(WORD),
    "s": SPACES,
    "S": all_but(SPACES),
}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LARGEST_COUNT = 10_000


class NoPattern(ValueError):
    """The pattern is written in a way that this reading does not know."""


@dataclass(frozen=True, slots=True)
class Character:
    """One character: surely if it is in `least`, perhaps if it is in `most`."""

    least: Ranges
    most: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    parts: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Regex
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Start:
    """`^`"""


@dataclass(frozen=True, slots=True)
class End:
    """`$`"""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What follows matches, or does not."""

    part: Regex
    denied: bool


@dataclass(frozen=True, slots=True)
class Inexact:
    """Stands for what is not treated: it matches, at most, the empty text, or (`longer`) any text."""

    longer: bool


Regex: TypeAlias = Character | Sequence | Choice | Repeat | Start | End | Ahead | Inexact


def parse(pattern: str) -> Regex:
    """Raises NoPattern."""
    parser = _Parser(pattern, doubtful=False)
    found = parser.whole()
    return _Parser(pattern, doubtful=True).whole() if parser.special else found


class _Parser:
    """`special`: the pattern has something that may make the validator take its other engine; `doubtful`: it may have
    been taken."""

    def __init__(self, pattern: str, *, doubtful: bool) -> None:
        self._text = pattern
        self._at = 0
        self._doubtful = doubtful
        self.special = False

    def whole(self) -> Regex:
        found = self._choice()
        if self._at < len(self._text):
            raise NoPattern(self._text)
        return found

    def _next(self, expected: str = "") -> str:
        if self._at >= len(self._text) or (expected and self._text[self._at] != expected):
            raise NoPattern(self._text)
        self._at += 1
        return self._text[self._at - 1]

    def _peek(self, offset: int = 0) -> str:
        return self._text[self._at + offset : self._at + offset + 1]

    def _skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _up_to(self, end: str) -> str:
        """The text before the next `end`, which is passed too."""
        place = self._text.find(end, self._at)
        if place < 0:
            raise NoPattern(self._text)
        found, self._at = self._text[self._at : place], place + 1
        return found

    def _choice(self) -> Regex:
        parts = [self._sequence()]
        while self._skip("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Regex:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self) -> Regex:
        match character := self._next():
            case "^":
                return Start()
            case "$":
                return End()
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return Character(_DOT, _NO_NEWLINE if self._doubtful else _DOT)
            case "\\":
                return self._escape()
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise NoPattern(self._text)
        return _exactly(ord(character))

    def _group(self) -> Regex:
        ahead = self._skip("?=")
        denied = not ahead and self._skip("?!")
        behind = not ahead and not denied and (self._skip("?<=") or self._skip("?<!"))
        if not (ahead or denied or behind):
            self._group_name()
        part = self._choice()
        self._next(")")
        self.special = self.special or ahead or denied or behind
        if behind:
            return Inexact(longer=False)
        return Ahead(part, denied) if ahead or denied else part

    def _group_name(self) -> None:
        if self._skip("?<"):
            self._up_to(">")
        elif self._skip("?") and not self._skip(":"):
            raise NoPattern(self._text)

    def _escape(self) -> Regex:
        character = self._peek()
        if not character or character not in "bB<>k123456789":
            return self._escaped()
        self._at += 1
        self.special = True
        return Inexact(longer=character not in "bB<>")  # a word boundary, or a reference

    def _escaped(self) -> Character:
        """An escape that stands for characters, inside brackets or outside."""
        character = self._next()
        if character in _SHORTHANDS:
            return self._shorthand(_SHORTHANDS[character])
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
        return _exactly(code)

    def _shorthand(self, ranges: Ranges) -> Character:
        if not self._doubtful:
            return Character(ranges, ranges)
        return Character(common(ranges, _ASCII), union_of(ranges, all_but(_ASCII)))

    def _property(self) -> Character:
        self.special = True
        self._next("{")
        self._up_to("}")
        return Character((), ANY)

    def _code(self, kind: str) -> int:
        if kind == "c" and not self._doubtful:
            return ord(self._next()) % 32
        if kind == "u" and self._skip("{"):
            digits = self._up_to("}")
        else:
            digits = "".join(self._next() for _ in range(2 if kind == "x" else 4))
        try:
            return int(digits, 16)
        except ValueError as error:
            raise NoPattern(self._text) from error

    def _class(self) -> Regex:
        negated = self._skip("^")
        found: list[Character] = []
        while not self._skip("]"):
            if self._doubtful and (self._peek() == "[" or self._text[self._at : self._at + 2] in ("&&", "--", "~~")):
                raise NoPattern(self._text)  # the other engine has operations on classes
            low = self._member()
            if self._peek() == "-" and self._peek(1) not in ("]", ""):
                self._at += 1
                low = self._range(low, self._member())
            found.append(low)
        least = union_of(*(one.least for one in found))
        most = union_of(*(one.most for one in found))
        return Character(all_but(most), all_but(least)) if negated else Character(least, most)

    def _member(self) -> Character:
        return self._escaped() if self._skip("\\") else _exactly(ord(self._next()))

    def _range(self, low: Character, high: Character) -> Character:
        for end in (low.least, high.least):
            if len(end) != 1 or end[0][0] != end[0][1]:
                raise NoPattern(self._text)
        if low.least > high.least:
            raise NoPattern(self._text)
        ranges = ((low.least[0][0], high.least[0][0]),)
        return Character(ranges, ranges)

    def _quantified(self, part: Regex) -> Regex:
        counts = self._counts()
        if counts is None:
            return part
        self._skip("?")  # lazy: the same texts
        return Repeat(part, *counts)

    def _counts(self) -> tuple[int, int | None] | None:
        for mark, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._skip(mark):
                return counts
        if not self._skip("{"):
            return None
        least, comma, most = self._up_to("}").partition(",")
        if not least.isdecimal() or (most and not most.isdecimal()) or max(len(least), len(most)) > 5:
            raise NoPattern(self._text)
        if max(int(least), int(most or 0)) > _LARGEST_COUNT:
            raise NoPattern(self._text)
        return int(least), (int(most) if most else None if comma else int(least))


def _exactly(code: int) -> Character:
    return Character(((code, code),), ((code, code),))
