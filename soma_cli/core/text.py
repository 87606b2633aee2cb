"""The text of a memory: what search looks through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_MISSING = object()
_INDEX = re.compile("0|[1-9][0-9]{0,8}")


def text_of(payload: dict[str, Any], pointers: Sequence[str] = ()) -> str:
    """The strings at the given JSON pointers (RFC 6901); without pointers, `text` if that is a string, else all
    strings of the payload in sorted key order. Parts are joined by line breaks."""
    if pointers:
        return "\n".join(part for pointer in pointers for part in _strings(resolve(payload, pointer)))
    text = payload.get("text")
    return text if isinstance(text, str) else "\n".join(_strings(payload))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _strings(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def resolve(document: object, pointer: str) -> object:
    """The value that a JSON pointer names, or None where there is none."""
    value = document
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = _child(value, key)
        if value is _MISSING:
            return None
    return value


def _child(value: object, key: str) -> object:
    if isinstance(value, dict):
        return value.get(key, _MISSING)
    if isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
        return value[int(key)]
    return _MISSING
