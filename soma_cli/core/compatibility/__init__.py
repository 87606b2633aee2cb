"""Whether two JSON Schemas (draft-07) agree: proved, broken by a witness, or undecided. Pure: it reads no file.

The checker is loaded at its first use: modes and verdicts are known everywhere, also where nothing is checked.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from soma_cli.core.compatibility.budget import Budget
from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation

if TYPE_CHECKING:
    from soma_cli.core.compatibility.checker import check
    from soma_cli.core.compatibility.refusal import refused_schema

__all__ = ["Budget", "Mode", "Undecided", "Verdict", "Violation", "check", "refused_schema"]

_HEAVY = {"check": "checker", "refused_schema": "refusal"}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HEAVY[name]}"), name)
