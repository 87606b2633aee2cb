"""The text of a memory, and JSON pointers."""

from __future__ import annotations

from typing import Any

import pytest

from soma_cli.core.text import resolve, text_of

PAYLOAD: dict[str, Any] = {"z": "last", "a": {"c": "second", "b": ["first", 7, None, {"x": "deep"}]}, "n": 5, "e": ""}


def test_text_is_the_text_field_where_that_is_a_string() -> None:
    assert text_of({"text": "hi", "other": "not this"}) == "hi"
    assert text_of({"text": "", "other": "not this"}) == ""


@pytest.mark.parametrize("text", [5, None, True])
def test_a_text_field_that_is_no_string_does_not_count(text: object) -> None:
    assert text_of({"text": text, "other": "this"}) == "this"


def test_text_is_else_all_strings_in_sorted_key_order() -> None:
    assert text_of(PAYLOAD) == "first\ndeep\nsecond\n\nlast"
    assert text_of({"text": {"b": "2", "a": "1"}, "s": "0"}) == "0\n1\n2"
    assert text_of(dict(reversed(PAYLOAD.items()))) == text_of(PAYLOAD)


@pytest.mark.parametrize("payload", [{}, {"a": 1}, {"a": [None, {}]}])
def test_a_payload_without_strings_has_no_text(payload: dict[str, Any]) -> None:
    assert text_of(payload) == ""


def test_pointers_say_which_strings_and_in_which_order() -> None:
    assert text_of(PAYLOAD, ["/z", "/a/b/0", "/missing", "/n"]) == "last\nfirst"
    assert text_of(PAYLOAD, ["/a"]) == "first\ndeep\nsecond"
    assert text_of({"text": "not this", "title": "this"}, ["/title"]) == "this"
    assert text_of(PAYLOAD, [""]) == text_of(PAYLOAD)


DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "~1": 9, " ": 7, "01": "key", "deep": {"1": "x"}}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/foo/1", "baz"),
        ("/", 0),
        ("/a~1b", 1),
        ("/m~0n", 8),
        ("/~01", 9),
        ("/ ", 7),
        ("/01", "key"),
        ("/deep/1", "x"),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/-1", None),
        ("/foo/00", None),
        ("/foo/01", None),
        ("/foo/+1", None),
        ("/foo/\u0661", None),
        ("/foo/" + "9" * 5000, None),
        ("/foo/0/1", None),
        ("/nothing/at/all", None),
    ],
)
def test_a_pointer_names_a_value_by_rfc_6901(pointer: str, value: object) -> None:
    assert resolve(DOCUMENT, pointer) == value
