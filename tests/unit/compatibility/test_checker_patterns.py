"""What the checker knows of texts is what the validator does: patterns as languages, formats by their bounds."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from random import Random

import pytest

from soma_cli.core.compatibility import Budget, check
from soma_cli.core.compatibility.automaton import Automaton
from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.formats import EXAMPLES, FORMAT_PATTERNS, NARROWER
from soma_cli.core.compatibility.language import ANY, Term, Terms, all_but, contains, union_of
from soma_cli.core.compatibility.reading import FORMATS
from soma_cli.core.compatibility.regex_meaning import language_of
from soma_cli.core.compatibility.regex_syntax import NoPattern
from soma_cli.core.compatibility.validation import UUID, _is_uuid, accepting

TEXTS = ["".join(text) for length in range(5) for text in itertools.product("ab1 \n", repeat=length)]
ATOMS = [
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    r"\d",
    r"\w",
    r"\s",
    "^",
    "$",
    "[a-c]",
    r"\W",
    "1",
    " ",
    "(?=a)",
    "(?!b)",
    "(?!.*1)",
]
OTHERS = ["é", "٣", "\ufeff", "\u2028", "\r", "\x85", "aé", "é1", "a\ufeff", "\r\n", "\u0301", "\u00a0b"]
"""On which the validator's two engines differ."""
EXACT = [
    *(r"^[a-z]+$", "a|^b", "(a|b$)", "(^a)?b", "^(?:a{2}){2}$", "a{0}", "^a{2,}?$", r"^\x61\u0062\u{31}$", r"[\w-]"),
    *(r"^\.\/\-$", "(?<name>a)b", "a|", "()", "^$", "$^", "^(?! *$)[^1]+", "^(?=[^1]*1)(?=[^a]*a)[^b]{2,}$", r"^\cJ$"),
    *(r"^[^\s]$", r"^[\D]$", "^[a^-]$", r"^[\]\\]$", "^(?!a|b)", "^((?!1)[^b]){2}$", "^((a)|(b))*$", "(a?){3}b"),
]


def accepts(pattern: str, text: str) -> bool:
    return accepting(json.dumps({"pattern": pattern}))(text)


def in_term(terms: Terms, term: Term, text: str) -> bool:
    for character in text:
        term = terms.derivative(term, ord(character))
    return term.nullable


def random_pattern(random: Random, depth: int) -> str:
    kind = random.randrange(13)
    if depth == 0 or kind < 4:
        return random.choice(ATOMS)
    inner = random_pattern(random, depth - 1)
    if kind < 7:
        return inner + random_pattern(random, depth - 1)
    if kind < 9:
        return f"(?:{inner}|{random_pattern(random, depth - 1)})"
    return f"({inner})" + random.choice(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}", "*?"])


@pytest.mark.parametrize("pattern", EXACT)
def test_a_pattern_matches_what_the_validator_matches(pattern: str) -> None:
    assert bounded(pattern, [*TEXTS, *OTHERS, "ab1", "./-", "]", "\\", "^", "-"])


def bounded(pattern: str, texts: list[str]) -> bool:
    """Whether the bounds are one; fails where the validator is outside of them."""
    terms = Terms()
    language = language_of(pattern, terms)
    for text in texts:
        matches = accepts(pattern, text)
        assert not matches or in_term(terms, language.most, text), (pattern, text)
        assert matches or not in_term(terms, language.least, text), (pattern, text)
    return language.exact


def test_random_patterns_match_what_the_validator_matches() -> None:
    random = Random(1)
    exact = [bounded(random_pattern(random, 4), [*TEXTS[::3], *OTHERS]) for _ in range(600)]
    assert sum(exact) > 300


INEXACT = [
    r"(a)\1",
    r"\bfoo\b",
    r"^\p{L}+$",
    "(?<=a)b",
    r"^[\p{L}\d]$",
    "^((?!ab).)*$",
    r"(?!x)\s",
    "(?!x).",
    r"^[^\P{L}]$",
]


@pytest.mark.parametrize("pattern", INEXACT)
def test_what_has_no_exact_language_has_bounds(pattern: str) -> None:
    assert not bounded(pattern, [*TEXTS, *OTHERS, "foo", "a foo b", "éa"])


@pytest.mark.parametrize(
    "pattern", ["(", "a{", "[b-a]", "a)", "*a", "a**", "(?i)a", "[[a](?!b)", r"\x6", "a{99999}", "[a"]
)
def test_what_is_no_pattern_is_not_read(pattern: str) -> None:
    with pytest.raises(NoPattern):
        language_of(pattern, Terms())


def words(pattern: str, *, but: str = "", shortest: int = 0, longest: int | None = None) -> Iterator[str]:
    terms = Terms()
    term = language_of(pattern, terms).most
    if but:
        term = terms.both(term, terms.complement(language_of(but, terms).most))
    return Automaton(term, terms, Meter(Budget())).words(shortest, longest)


def test_the_words_of_a_finite_language_are_all_there_shortest_first() -> None:
    found = list(dict.fromkeys(words("^(a|bb|c{1,3})$")))
    assert sorted(found) == ["a", "bb", "c", "cc", "ccc"]
    assert [len(word) for word in found] == [1, 1, 2, 2, 3]


def test_words_of_a_length() -> None:
    assert set(words("^(ab)*$", shortest=3, longest=7)) == {"abab", "ababab"}
    assert set(words("^a?b?$", shortest=2)) == {"ab"}
    assert next(words("^(ab)*$", shortest=1_000)) == "ab" * 500
    assert list(words("^(ab)*$", shortest=3, longest=3)) == []


def test_a_difference_of_languages() -> None:
    assert list(words("^[a-y]+$", but="^[a-z]+$")) == []
    assert next(words("^[a-z]+$", but="^[a-y]+$")) == "z"


def test_ranges() -> None:
    assert union_of(((1, 3), (7, 9)), ((4, 5),)) == ((1, 5), (7, 9))
    assert all_but(all_but(((97, 122),))) == ((97, 122),)
    assert all_but(ANY) == ()
    assert not contains(ANY, 0xD800)


def near(examples: list[str], random: Random) -> Iterator[str]:
    """Examples with a few characters changed, taken out, put in or taken from another one."""
    alphabet = "".join(examples) + "0123456789:/?#[]@!$&'()*+,;=-._~%éaZzTt \\\"{}<>|^`\n\t"
    for _ in range(3_000):
        text = list(random.choice(examples))
        for _ in range(random.randrange(4)):
            place = random.randrange(len(text) + 1)
            text[place : place + random.randrange(2)] = random.choice(alphabet) * random.randrange(2)
        yield "".join(text)


@pytest.mark.parametrize("schema", FORMAT_PATTERNS)
def test_the_pattern_of_a_format_matches_all_its_texts(schema: str) -> None:
    accepted = [text for text in near(EXAMPLES[schema], Random(schema)) if accepting(schema)(text)]
    assert len(accepted) > 200
    assert [text for text in accepted if not re.search(FORMAT_PATTERNS[schema], text)] == []


@pytest.mark.parametrize("pair", sorted(NARROWER))
def test_a_narrower_format_has_only_texts_of_the_wider(pair: tuple[str, str]) -> None:
    narrow, wide = map(accepting, pair)
    accepted = [text for text in near([*EXAMPLES[pair[0]], *EXAMPLES[pair[1]]], Random(1)) if narrow(text)]
    assert len(accepted) > 200
    assert [text for text in accepted if not wide(text)] == []


@pytest.mark.parametrize("schema", EXAMPLES)
def test_the_examples_are_accepted(schema: str) -> None:
    assert [text for text in EXAMPLES[schema] if not accepting(schema)(text)] == []


def test_the_formats_that_are_looked_at() -> None:
    others = ["uuid4", "duration", "password", "int32", "byte", "color", "phone"]
    looked_at = [name for name in (*FORMATS, *others) if not accepting(json.dumps({"format": name}))("(%\\{")]
    assert set(looked_at) == FORMATS
    assert check({"type": "string"}, {"format": "duration"}).compatible


def test_a_uuid_is_what_events_take_for_one() -> None:
    example = "01234567-89ab-cdef-0123-456789ABCDEF"
    for text in near([example], Random(1)):
        assert (re.search(UUID, text) is not None and "\n" not in text) == _is_uuid(text)
        assert accepting('{"format": "uuid"}')(text) == _is_uuid(text)


@pytest.mark.parametrize(
    ("writer", "reader", "compatible"),
    [
        ({"format": "date"}, {"maxLength": 10}, True),
        ({"format": "date"}, {"maxLength": 9}, False),
        ({"format": "date"}, {"format": "date"}, True),
        ({"format": "date"}, {"format": "date-time"}, False),
        ({"format": "date-time"}, {"pattern": "^[0-9]{4}-"}, True),
        ({"format": "uri"}, {"format": "uri-reference"}, True),
        ({"format": "uri-reference"}, {"format": "uri"}, False),
        ({"format": "uuid"}, {"minLength": 36, "maxLength": 36}, True),
        ({"format": "uuid"}, {"pattern": "^[0-9a-f-]*$"}, False),
        ({"enum": ["2000-01-01", "2000-02-30"]}, {"format": "date"}, False),
        ({"enum": ["2000-01-01", "2000-02-29"]}, {"format": "date"}, True),
        ({"pattern": "^2000-0[1-2]-[0-2]1$"}, {"format": "date"}, True),
        ({"pattern": "^2000-0[1-2]-[0-3]1$"}, {"format": "date"}, False),
        ({"contentEncoding": "base64"}, {"contentEncoding": "base64"}, True),
        ({"contentEncoding": "base64"}, {"contentEncoding": "quoted-printable"}, True),
        ({}, {"contentMediaType": "application/json"}, False),
        ({"format": "email"}, {"format": "hostname"}, False),
        ({"pattern": r"^\p{L}+$"}, {"minLength": 1}, True),
        ({"pattern": r"^\p{L}+$"}, {"pattern": r"^\p{L}+$"}, True),
        ({"pattern": r"^\p{Lu}+$"}, {"pattern": r"^\p{L}+$"}, None),
        ({"pattern": r"^(a|b)\1$"}, {"maxLength": 1}, False),
    ],
)  # fmt: skip
def test_what_is_decided_of_formats_and_patterns(writer: object, reader: object, compatible: bool | None) -> None:
    assert check({"allOf": [{"type": "string"}, writer]}, reader).compatible is compatible
