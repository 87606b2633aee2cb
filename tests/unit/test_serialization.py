"""JSON only: every document that a store of soma could not hold, or would change, is refused at its place."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from soma_cli.core import serialization
from soma_cli.core.errors import NotJson
from soma_cli.core.serialization import MAX_DEPTH, deserialize, first_fault, json_pointer, serialize

CORPUS = os.environ.get("SOMA_JSON_CORPUS")

# Files of the corpus with valid JSON that soma refuses on purpose; docs/json-corpus.md says why.
REFUSED_ON_PURPOSE = {
    "y_object_duplicated_key.json": "duplicate_key",
    "y_object_duplicated_key_and_value.json": "duplicate_key",
    "y_object_escaped_null_in_key.json": "null_character",
    "y_string_null_escape.json": "null_character",
}


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int


def nested(depth: int, brackets: str = "[]") -> str:
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    return opening * (depth - 1) + brackets + closing * (depth - 1)


def refusal(data: Any) -> tuple[str, str | None]:
    with pytest.raises(NotJson) as caught:
        deserialize(data)
    assert isinstance(caught.value, ValueError)
    assert caught.value.hint
    return caught.value.code, caught.value.pointer


FAULTY_DOCUMENTS = [
    ("NaN", "nan_or_infinity", ""),
    ('{"a":{"b":NaN}}', "nan_or_infinity", "/a/b"),
    ("[0,Infinity]", "nan_or_infinity", "/1"),
    ("[0,-Infinity]", "nan_or_infinity", "/1"),
    ('{"importance":1e400}', "nan_or_infinity", "/importance"),
    ("[-1e400]", "nan_or_infinity", "/0"),
    ('["\\ud800"]', "lone_surrogate", "/0"),
    ('["\\udfff"]', "lone_surrogate", "/0"),
    ('["\\ud800\\ud800"]', "lone_surrogate", "/0"),
    ('["\ud800"]', "lone_surrogate", "/0"),
    ('{"a":{"\\ud800":1}}', "lone_surrogate", "/a"),
    ('{"payload":{"text":"a\\u0000b"}}', "null_character", "/payload/text"),
    ('{"payload":{"a\\u0000b":1}}', "null_character", "/payload"),
    ('["\\\\u0000","\\\\\\u0000"]', "null_character", "/1"),
    ('{"a":1,"a":1}', "duplicate_key", "/a"),
    ('[0,{"b":{"a":1,"\\u0061":2}}]', "duplicate_key", "/1/b/a"),
    ('{"a":1,"b":2,"a":{"b":3}}', "duplicate_key", "/a"),
    ("18446744073709551616", "integer_range", ""),
    ('{"n":[1,-9223372036854775809]}', "integer_range", "/n/1"),
    ("[" + "9" * 5000 + "]", "integer_range", "/0"),
    ('{"a/b":{"c~d":[1,NaN]}}', "nan_or_infinity", "/a~1b/c~0d/1"),
    ("[NaN,18446744073709551616]", "nan_or_infinity", "/0"),
    (nested(201), "too_deep", "/0" * 200),
    (nested(300), "too_deep", "/0" * 200),
    (nested(201, "{}"), "too_deep", "/a" * 200),
    ('{"]":' * 201 + "0" + ',"[":0}' * 201, "too_deep", "/]" * 200),
    ('{"]]]]":' + nested(200) + "}", "too_deep", "/]]]]" + "/0" * 199),
]


@pytest.mark.parametrize(("document", "code", "pointer"), FAULTY_DOCUMENTS)
@pytest.mark.parametrize("space", ["", " "])
def test_faulty_value_is_refused_with_code_and_pointer(document: str, code: str, pointer: str, space: str) -> None:
    assert refusal(space + document) == (code, pointer)
    if document.isascii():
        assert refusal((space + document).encode()) == (code, pointer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        "",
        b" ",
        b"{",
        b"[1] 2",
        b"[1]\n[2]",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x1",
        b'"\t"',
        b'"\\x"',
        b"nan",
        b"True",
        b"// x\n1",
        b"\xef\xbb\xbf{}",
        "\ufeff{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32-be"),
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.",
        None,
        {"a": 1},
    ],
)
def test_anything_but_one_utf8_json_document_is_refused(data: Any) -> None:
    assert refusal(data) == ("not_json", None)


def test_nesting_beyond_the_parser_s_own_limit_is_too_deep_too() -> None:
    """Where that limit is depends on Python's version; the place is known only of what it could parse."""
    for depth in (1025, 100_000):
        text = "[" * depth + "]" * depth
        assert refusal(text) == ("too_deep", "/0" * MAX_DEPTH if _parses(text) else None)
    assert not _parses(text)


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return False
    return True


def test_syntax_error_names_line_and_column() -> None:
    with pytest.raises(NotJson, match=r"line 2, column 6$"):
        deserialize(b'{"a":1,\n "b" 2}')


def test_invalid_utf8_names_the_byte() -> None:
    with pytest.raises(NotJson, match=r"byte 3 is not UTF-8"):
        deserialize(b'"ab\xff"')


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16-le"), "UTF-16"),
        (None, "NoneType"),
        (b"[1e400]", "1e400 overflows to infinity, at /0"),
        (b"[18446744073709551616]", "18446744073709551616 does not fit in 64 bits"),
        (b'{"a":1,"a":2}', "'a' is there more than once"),
    ],
)
def test_message_names_the_reason(data: Any, reason: str) -> None:
    with pytest.raises(NotJson, match=reason):
        deserialize(data)


def test_what_the_fast_parser_refuses_is_never_accepted() -> None:
    with pytest.raises(NotJson, match="the parser refuses it"):
        serialization._strictly(b"{}", accepted=False)


def test_messages_are_short_and_printable_whatever_the_document_holds() -> None:
    for document in ('{"' + "k" * 9000 + '":NaN}', '{"\\u001b[2J":[NaN]}', "9" * 9000, '{"\\n":1,"\\n":2}'):
        with pytest.raises(NotJson) as caught:
            deserialize(document)
        assert len(caught.value.message) < 300
        assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        (' {"a" : [1, 2.50, 1E2, -0]}\r\n\t', {"a": [1, 2.5, 100.0, 0]}),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\\\u0000"', "\\u0000"),
        ('["\\\\u0000", 1]', ["\\u0000", 1]),
        ('[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
        ("1e-400", 0.0),
        ('"\u2028"', "\u2028"),
        ("null", None),
        (json.dumps("[{" * 300), "[{" * 300),
        ("[" + ",".join(['{"a":["]"]}'] * 300) + "]", [{"a": ["]"]}] * 300),
    ],
)
def test_strict_json_is_accepted_exactly(document: str, value: object) -> None:
    assert repr(deserialize(document)) == repr(value)
    assert repr(deserialize(document.encode())) == repr(value)


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_two_hundred_levels_are_accepted(brackets: str) -> None:
    document = nested(200, brackets)
    assert serialize(deserialize(document)) == document.encode()
    assert serialize(deserialize(" " + document)) == document.encode()


FAULTY_VALUES: list[tuple[object, str, str]] = [
    (math.nan, "nan_or_infinity", ""),
    ({"embedding": [0.5, math.nan]}, "nan_or_infinity", "/embedding/1"),
    ([None, math.inf], "nan_or_infinity", "/1"),
    ([-math.inf], "nan_or_infinity", "/0"),
    ({"a": {1: "x"}}, "not_json", "/a"),
    ({None: 1}, "not_json", ""),
    ({Word.A: 1}, "not_json", ""),
    ({Text("a"): 1}, "not_json", ""),
    (["\ud800"], "lone_surrogate", "/0"),
    ({"a": {"\ud800": 1}}, "lone_surrogate", "/a"),
    ({"text": "a\0b"}, "null_character", "/text"),
    ({"p": {"a\0b": 1}}, "null_character", "/p"),
    ([2**64], "integer_range", "/0"),
    ([-(2**63) - 1], "integer_range", "/0"),
    (json.loads(nested(201)), "too_deep", "/0" * 200),
    (json.loads(nested(260)), "too_deep", "/0" * 200),
    (json.loads(nested(201, "{}")), "too_deep", "/a" * 200),
    ({"a": (1, 2)}, "not_json", "/a"),
    ({"a": ()}, "not_json", "/a"),
    ([b"x"], "not_json", "/0"),
    ([{1}], "not_json", "/0"),
    ([1j], "not_json", "/0"),
    ([Text("a")], "not_json", "/0"),
    ([OrderedDict(a=1)], "not_json", "/0"),
    ([Point(1)], "not_json", "/0"),
    ([uuid.UUID(int=1)], "not_json", "/0"),
    ([datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)], "not_json", "/0"),
    ([datetime.date(2026, 1, 1)], "not_json", "/0"),
    ([decimal.Decimal(1)], "not_json", "/0"),
    ([object], "not_json", "/0"),
]


@pytest.mark.parametrize(("value", "code", "pointer"), FAULTY_VALUES)
def test_serialize_refuses_what_json_cannot_hold(value: object, code: str, pointer: str) -> None:
    with pytest.raises(NotJson) as caught:
        serialize(value)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)
    fault = first_fault(value)
    assert fault is not None
    assert (fault.code, fault.pointer) == (code, pointer)


def test_serialize_refuses_a_cycle() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(NotJson) as caught:
        serialize(cycle)
    assert caught.value.code == "too_deep"


def test_serialize_is_compact_utf8_in_the_order_given() -> None:
    assert (
        serialize({"b": 1, "a": ["é", 1.0, None, True, "\\u0000"]})
        == '{"b":1,"a":["é",1.0,null,true,"\\\\u0000"]}'.encode()
    )


def test_json_pointer_escapes_tilde_and_slash() -> None:
    assert json_pointer([]) == ""
    assert json_pointer(["a/b", 0, "m~n", ""]) == "/a~1b/0/m~0n/"


STRINGS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["a", "null", "\\u0000", "[[", "}", "\0", "x\0", "\ud800", '"', "\\", "\U0001f600"]),
)
GOOD_STRINGS = STRINGS.filter(lambda text: "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text))
EDGES = st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**53 + 1, 10**30])
GOOD_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    GOOD_STRINGS,
)
ANY_LEAVES = st.one_of(GOOD_LEAVES, st.floats(), EDGES, STRINGS, st.sampled_from([(), (1,), Text("a"), b"x", {1}]))


def documents(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5))
    )


@given(documents(GOOD_LEAVES, GOOD_STRINGS))
def test_round_trip_keeps_value_types_and_order(value: object) -> None:
    data = serialize(value)
    assert first_fault(value) is None
    assert repr(deserialize(data)) == repr(value)
    assert repr(deserialize(data.decode())) == repr(value)
    assert repr(deserialize(json.dumps(value, indent=1))) == repr(value)


@given(documents(ANY_LEAVES, st.one_of(STRINGS, st.integers(0, 2), st.sampled_from([Word.A, Text("b"), None]))))
@example([None, math.nan])
@example([[()]])
def test_serialize_refuses_exactly_what_the_walk_finds(value: object) -> None:
    fault = first_fault(value)
    if fault is None:
        assert repr(deserialize(serialize(value))) == repr(value)
        return
    with pytest.raises(NotJson) as caught:
        serialize(value)
    assert (caught.value.code, caught.value.pointer) == (fault.code, fault.pointer)


def test_an_enumeration_of_strings_or_integers_counts_as_its_value() -> None:
    assert serialize([Number.ONE, Word.A]) == b'[1,"a"]'


NUMERALS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1e308", "1e309", "-0", "-0.0", "18446744073709551616", "2e0"]),
)
LITERALS = st.one_of(
    NUMERALS,
    st.sampled_from(["null", "true", '"\\u0000"', '"\\\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\/"', '"[["']),
    STRINGS.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
NAMES = st.sampled_from(['"a"', '"\\u0061"', '"b"', '"c"', '"\\u0000"', '"\ud800"', '"é"', '"\\u00e9"'])


def _array(items: list[str], space: str) -> str:
    return "[" + f",{space}".join(items) + "]"


def _object(members: list[tuple[str, str]], space: str) -> str:
    return "{" + f",{space}".join(f"{name}:{space}{item}" for name, item in members) + "}"


SPACES = st.sampled_from(["", "", "", " ", "\n", "\u00a0"])
TEXTS = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=4), SPACES),
        st.builds(_object, st.lists(st.tuples(NAMES, inner), max_size=4), SPACES),
    ),
)


def _outcome(read: Any, data: bytes | str) -> tuple[str, str]:
    try:
        return "value", repr(read(data))
    except NotJson as error:
        return error.code, str(error.pointer)


def _strict_reading(data: bytes | str) -> Any:
    """The slow path alone: no result of orjson is used."""
    return serialization._strictly(data, accepted=True)


@given(TEXTS)
@example('{"a":1,"a":1}')
@example("[18446744073709551616]")
@example("[18446744073709552000]")
def test_fast_and_strict_reading_agree_on_documents(document: str) -> None:
    assert _outcome(deserialize, document) == _outcome(_strict_reading, document)


@given(documents(GOOD_LEAVES, GOOD_STRINGS), st.data())
def test_fast_and_strict_reading_agree_on_damaged_bytes(value: object, data: st.DataObject) -> None:
    damaged = bytearray(serialize(value))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"0", b"e9", b",", b"[", b"}", b'"', b"\\", b"\\u0000", b" ", b"\xff", b"\0", b"-"])
        )
    assert _outcome(deserialize, bytes(damaged)) == _outcome(_strict_reading, bytes(damaged))


@given(st.lists(st.sampled_from(["[]", "{}"]), min_size=195, max_size=205), st.sampled_from(["", "]", "[[", '\\"[']))
def test_fast_and_strict_reading_agree_on_depth(levels: list[str], key: str) -> None:
    document = "0"
    for brackets in levels:
        document = f"[{document}]" if brackets == "[]" else "{" + json.dumps(key) + ":" + document + "}"
    assert _outcome(deserialize, document) == _outcome(_strict_reading, document)
    assert (_outcome(deserialize, document)[0] == "value") == (len(levels) <= 200)


needs_corpus = pytest.mark.skipif(
    not CORPUS, reason="SOMA_JSON_CORPUS does not name the test_parsing folder of JSONTestSuite"
)


@needs_corpus
def test_public_corpus_of_json_documents() -> None:
    files = sorted(Path(str(CORPUS)).glob("[yni]_*.json"))
    assert len(files) > 300
    for file in files:
        data = file.read_bytes()
        code, result = _outcome(deserialize, data)
        assert (code, result) == _outcome(_strict_reading, data), file.name
        if file.name in REFUSED_ON_PURPOSE:
            assert code == REFUSED_ON_PURPOSE[file.name], file.name
        elif not file.name.startswith("i_"):
            assert (code == "value") == file.name.startswith("y_"), file.name
