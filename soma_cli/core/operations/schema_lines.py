"""On which line of a JSON text a pointer's value begins."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def line_of(text: str, pointer: str) -> int:
    """From 1. Where the pointer leads nowhere in this text, the line of the last part that is there."""
    at = _after_space(text, 0)
    for token in pointer.split("/")[1:]:
        inside = _member(text, at, token.replace("~1", "/").replace("~0", "~"))
        if inside is None:
            break
        at = inside
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, token: str) -> int | None:
    """Where the value of a key, or of an index, begins in the object or array that begins at `at`."""
    if text[at] not in "{[":
        return None
    keyed, index = text[at] == "{", 0
    at = _after_space(text, at + 1)
    while text[at] not in "}]":
        key = str(index)
        if keyed:
            key, at = scanstring(text, at + 1)
            at = _after_space(text, _after_space(text, at) + 1)
        if key == token:
            return at
        at = _after_space(text, _DECODER.raw_decode(text, at)[1])
        at = _after_space(text, at + 1) if text[at] == "," else at
        index += 1
    return None


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
