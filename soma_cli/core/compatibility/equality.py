"""Equality of JSON values: 1 is 1.0, and neither is true."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from soma_cli.core.compatibility.reading import number_of


def key_of(value: Any) -> Hashable:
    """Equal values have equal keys."""
    if isinstance(value, list):
        return ("array", *(key_of(item) for item in value))
    if isinstance(value, dict):
        return ("object", frozenset((name, key_of(member)) for name, member in value.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ("number", number_of(value))
    return (type(value).__name__, value)
