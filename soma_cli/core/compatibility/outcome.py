"""What the search for a witness comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Found:
    """A value that meets the goal. `size`: how many values it is made of, each counted as often as it is in it."""

    value: Any
    size: int = 1


@dataclass(frozen=True, slots=True)
class Nothing:
    """No value meets the goal: that is proved."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither; `literal` is what stopped the search."""

    literal: int
    message: str


LARGEST = 250_000
"""No value of a greater size is built. Parts of values are shared while they are built, and no longer afterwards."""


def built(value: Any, parts: Iterable[Found], literal: int) -> Found | Unknown:
    """An array or an object, out of its parts."""
    size = 1 + sum(part.size for part in parts)
    return Found(value, size) if size <= LARGEST else Unknown(literal, "the value would be too large")


Outcome: TypeAlias = Found | Nothing | Unknown
NOTHING = Nothing()
