"""What the search for a witness comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Found:
    """A value that meets the goal."""

    value: Any


@dataclass(frozen=True, slots=True)
class Nothing:
    """No value meets the goal: that is proved."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither; `literal` is what stopped the search."""

    literal: int
    message: str


Outcome: TypeAlias = Found | Nothing | Unknown
NOTHING = Nothing()
