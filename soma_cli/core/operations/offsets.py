"""Offsets as people write them."""

from __future__ import annotations

import re

from soma_cli.core.errors import UsageError
from soma_cli.core.ports import Bounds


def resolve_offset(text: str, bounds: Bounds, stored: int | None = None) -> int:
    """The offset of `beginning`, `end`, `stored`, `N`, or `-N` (so many before the end). Raises UsageError."""
    if text == "beginning":
        return bounds.beginning
    if text == "end":
        return bounds.end
    if text == "stored" and stored is not None:
        return stored
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise UsageError(f"{text[:80]!r} is not an offset", hint="write beginning, end, stored, a number, or -N")
    number = int(text)
    if number < 0 or text == "-0":
        return max(bounds.beginning, bounds.end + number)
    if number > bounds.end:
        raise UsageError(f"offset {number} is behind the end {bounds.end} of the log", hint="write end, or a lower one")
    return number
