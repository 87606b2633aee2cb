"""The reader's schema without an assertion that was seen to refuse a witness, so that the search finds the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NAMED = {"properties", "patternProperties", "definitions", "dependencies"}


def without(schema: Any, pointer: str, name: str | None) -> Any:
    """A copy of the schema in which the assertion at the JSON pointer is gone; of `required`, only this name.

    Raises LookupError where the pointer leads nowhere.
    """
    return _without(schema, _tokens(pointer), name)


def _without(schema: Any, path: Sequence[str], name: str | None) -> Any:
    if not path:
        return True
    step: Any = path[0]
    if isinstance(schema, list) and step.isdecimal():
        step = int(step)
    elif not isinstance(schema, dict):
        raise LookupError(step)
    copy, inner = schema.copy(), schema[step]
    if len(path) > 1 or isinstance(schema, list) or inner is False:
        copy[step] = _without(inner, path[1:], name)
    elif step == "required" and name in inner and len(inner) > 1:
        copy[step] = [other for other in inner if other != name]
    else:
        del copy[step]
    return copy


def keyword_of(pointer: str) -> str:
    """The last keyword on the way through a schema; `false` for the schema that is false as a whole."""
    keyword, named = "false", False
    for token in _tokens(pointer):
        if named:
            named = False
        elif not token.isdecimal():  # the place in a list
            keyword = token
            named = token in _NAMED
    return keyword


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
