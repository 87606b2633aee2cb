"""JSON only: the one place where bytes become values and values become bytes.

What is accepted is what every store of soma can hold without loss: one strict UTF-8 document, finite numbers, integers
from -2**63 to 2**64-1, no lone surrogates, no null characters, no duplicate keys, no nesting deeper than 200.

orjson alone writes NaN as null, keeps the last of duplicate keys and turns 2**64 into a float, all without a word. So
its result counts only where it is proved right; else a strict and slower reading decides and finds the fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from soma_cli.core.errors import NotJson

MAX_DEPTH = 200
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BACKSLASH, _BRACKET = b"\\["
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_HINTS = {
    "nan_or_infinity": "write a finite number, or null",
    "lone_surrogate": "write well-formed Unicode: escaped surrogates come in pairs",
    "null_character": "remove the null character (\\u0000): databases cannot hold it",
    "duplicate_key": "keep one of the members with this name",
    "integer_range": "write an integer from -2**63 to 2**64-1, or a string",
    "too_deep": f"nest arrays and objects at most {MAX_DEPTH} deep",
    "not_json": "write one JSON document (RFC 8259) in UTF-8",
}


_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a value cannot be kept: a stable code, one sentence, and the JSON pointer (RFC 6901) to the value."""

    code: str
    message: str
    pointer: str


@dataclass(frozen=True, slots=True)
class _Marked:
    """Stands in the parsed document where the text holds something that no Python value can show."""

    code: str
    what: str


class _Lossy(Exception):
    """The document holds a duplicate key or an integer beyond 64 bits."""


def json_pointer(path: Iterable[str | int]) -> str:
    """RFC 6901 pointer of the keys and indexes in `path`; empty for the whole document."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def serialize(value: object) -> bytes:
    """Compact UTF-8 JSON of None, bool, int, float, str, list and dict, in the order given.

    Raises NotJson (a ValueError), with a pointer, for whatever `deserialize` would refuse and for any other type,
    subclasses and tuples included: nothing is converted, so `deserialize(serialize(value)) == value`.
    """
    try:
        data = orjson.dumps(value, option=_STRICT)
        if _holds_exactly(data, value):
            return data
    except (TypeError, ValueError) as error:  # orjson's refusal
        _refuse_if_faulty(value)
        raise NotJson(f"the value cannot be written as JSON: {error}", hint=_HINTS["not_json"]) from error
    _refuse_if_faulty(value)
    return data


def serialize_known(value: object) -> bytes:
    """The same for a value that came from `deserialize`, or that `serialize` took before: nothing is checked again."""
    return orjson.dumps(value)


def deserialize(data: bytes | str) -> Any:
    """The value of one strict JSON document.

    Raises NotJson (a ValueError), with a stable code, and a pointer where a value is at fault: not_json,
    nan_or_infinity, lone_surrogate, null_character, duplicate_key, integer_range, too_deep.
    """
    try:
        raw = data.encode() if isinstance(data, str) else data
        value = orjson.loads(raw)
        # Bytes that come back the same have lost nothing on the way: no duplicate key, no rounded integer.
        if _storable(raw) and (orjson.dumps(value) == raw or _lossless(raw)):
            return value
    except (ValueError, TypeError):  # orjson's refusal: read again for the fault and its place
        return _strictly(data, accepted=False)
    return _strictly(data, accepted=True)


def first_fault(value: object) -> Fault | None:
    """The first value, in document order, that `serialize` and `deserialize` refuse; None if there is none.

    A faulty key (not a string, lone surrogate, null character) is reported at the object that holds it, so that the
    pointer itself can always be stored.
    """
    return _fault(value, [])


def _holds_exactly(data: bytes, value: object) -> bool:
    """Whether `data` gives `value` back.

    Equality finds NaN (written as null), tuples (read as lists) and UUIDs (read as strings). Subclasses equal what they
    derive from; orjson is told to refuse them. An enumeration of strings or integers counts as its value.
    """
    return _storable(data) and bool(orjson.loads(data) == value)


def _storable(data: bytes) -> bool:
    """False if the document may hold a null character or nest too deep; errs to that side only."""
    # `byte in data` takes a tenth of `data.count(byte)`, and most documents hold neither of these two.
    if _BACKSLASH in data and b"\\u0000" in data:
        return False
    arrays = data.count(b"[") if _BRACKET in data else 0
    if arrays + data.count(b"{") <= MAX_DEPTH:
        return True
    return not _nests_too_deep(data)


def _nests_too_deep(data: bytes) -> bool:
    """Whether a well-formed document nests too deep: each round takes away the innermost brackets."""
    brackets = _STRING.sub(b"", data).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _refuse_if_faulty(value: object) -> None:
    if fault := first_fault(value):
        raise NotJson(fault.message, pointer=fault.pointer, code=fault.code, hint=_HINTS[fault.code])


def _lossless(raw: bytes) -> bool:
    """Whether a document that orjson takes has unique keys and integers in range: the cheaper strict reading."""
    try:
        _CHECK.decode(raw.decode())
    except _Lossy:
        return False
    return True


def _strictly(data: bytes | str, *, accepted: bool) -> Any:
    """Read with the standard library's parser, which shows every member and number; `accepted` is orjson's verdict."""
    text = _text(data)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _not_json(f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError as error:
        message = f"the document nests deeper than {MAX_DEPTH} levels"
        raise NotJson(message, code="too_deep", hint=_HINTS["too_deep"]) from error
    _refuse_if_faulty(value)
    if not accepted:  # the two parsers differ: refuse what either refuses
        _not_json("the parser refuses it")
    return value


def _not_json(reason: str) -> NoReturn:
    raise NotJson(f"the document is not JSON: {reason}", code="not_json", hint=_HINTS["not_json"])


def _text(data: object) -> str:
    if not isinstance(data, bytes | str):
        _not_json(f"it is a Python {type(data).__name__}, not bytes or text")
    if not data:
        _not_json("it is empty")
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        _not_json(f"byte {error.start} is not UTF-8 ({error.reason})")
    if text[0] == "\ufeff":
        _not_json("it starts with a byte order mark")
    if "\0" in text[:4]:
        _not_json("it holds null bytes, as UTF-16 and UTF-32 do")
    return text


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                members[key] = _Marked("duplicate_key", f"the key {_short(ascii(key))} is there more than once")
            seen.add(key)
    return members


def _integer(digits: str) -> int | _Marked:
    # The length check comes first: int() refuses more than a few thousand digits with an error of its own.
    if len(digits) <= 20 and MIN_INTEGER <= (number := int(digits)) <= MAX_INTEGER:
        return number
    return _Marked("integer_range", f"the integer {_short(digits)} does not fit in 64 bits")


def _unique_members(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _Lossy


def _small_integer(digits: str) -> None:
    if type(_integer(digits)) is not int:
        raise _Lossy


def _float(digits: str) -> float | _Marked:
    number = float(digits)
    if math.isfinite(number):
        return number
    return _Marked("nan_or_infinity", f"the number {_short(digits)} overflows to infinity")


def _constant(name: str) -> _Marked:
    return _Marked("nan_or_infinity", f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_CHECK = json.JSONDecoder(object_pairs_hook=_unique_members, parse_int=_small_integer)


def _fault(value: object, path: list[str | int]) -> Fault | None:
    if isinstance(value, _Marked):
        return Fault(value.code, _sentence(value.what, path), json_pointer(path))
    kind = type(value)
    if kind in (list, dict):
        return _fault_inside(value, path)  # type: ignore[arg-type]
    if (found := _scalar_fault(value)) is None:
        return None
    return Fault(found[0], _sentence(found[1], path), json_pointer(path))


def _fault_inside(value: list[Any] | dict[Any, Any], path: list[str | int]) -> Fault | None:
    if len(path) >= MAX_DEPTH:
        what = f"arrays and objects nest deeper than {MAX_DEPTH} levels"
        return Fault("too_deep", what, json_pointer(path))
    for token, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and (found := _key_fault(token)):
            return Fault(found[0], _sentence(found[1], path), json_pointer(path))
        path.append(token)
        if fault := _fault(item, path):
            return fault
        path.pop()
    return None


def _key_fault(key: object) -> tuple[str, str] | None:
    if type(key) is not str:
        return "not_json", f"the key {_short(ascii(key))} is a Python {type(key).__name__}, not a string"
    if found := _scalar_fault(key):
        return found[0], f"the key {_short(ascii(key))}: {found[1]}"
    return None


def _scalar_fault(value: object) -> tuple[str, str] | None:
    kind = type(value)
    if kind is str:
        return _string_fault(value)  # type: ignore[arg-type]
    if kind is float:
        return None if math.isfinite(value) else ("nan_or_infinity", f"{value} is not a JSON number")  # type: ignore[arg-type]
    if kind is int:
        fits = MIN_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]
        return None if fits else ("integer_range", "the integer does not fit in 64 bits")
    if value is None or kind is bool:
        return None
    return "not_json", f"a Python {kind.__name__} is not a JSON value"


def _string_fault(text: str) -> tuple[str, str] | None:
    if "\0" in text:
        return "null_character", "the string holds a null character"
    if _SURROGATE.search(text):
        return "lone_surrogate", "the string holds a lone surrogate"
    return None


def _sentence(what: str, path: list[str | int]) -> str:
    return f"{what}, at {_short(json_pointer(path))}" if path else what


def _short(text: str) -> str:
    """Printable and at most 80 characters: what is at fault may hold anything."""
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= 80 else f"{text[:77]}..."
