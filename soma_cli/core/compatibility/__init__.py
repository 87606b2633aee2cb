"""Whether two JSON Schemas (draft-07) agree: proved, broken by a witness, or undecided. Pure: it reads no file."""

from soma_cli.core.compatibility.budget import Budget
from soma_cli.core.compatibility.checker import check, check_version
from soma_cli.core.compatibility.refusal import refused_schema
from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation

__all__ = ["Budget", "Mode", "Undecided", "Verdict", "Violation", "check", "check_version", "refused_schema"]
