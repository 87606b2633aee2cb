"""The reader's schema without an assertion that was seen to refuse a witness, so that the search finds the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NAMED = {"properties", "patternProperties", "definitions", "dependencies"}


def without(schema: Any, path: Sequence[str | int], name: str | None) -> Any:
    """A copy of the schema in which the assertion at the path is gone; of `required`, only this name.

    Raises LookupError where the path leads nowhere.
    """
    if not path:
        return True
    step, rest = path[0], path[1:]
    if not isinstance(schema, dict | list):
        raise LookupError(step)
    copy: Any = schema.copy()
    inner = schema[step]  # type: ignore[index]
    if rest or isinstance(schema, list) or inner is False:
        copy[step] = without(inner, rest, name)
    elif step == "required" and name in inner and len(inner) > 1:
        copy[step] = [other for other in inner if other != name]
    else:
        del copy[step]
    return copy


def keyword_of(path: Sequence[str | int]) -> str:
    """The last keyword on a path through a schema; `false` for the schema that is false as a whole."""
    keyword, named = "false", False
    for token in path:
        if named or isinstance(token, int):
            named = False
            continue
        keyword = token
        named = token in _NAMED
    return keyword
