"""Whether two JSON Schemas (draft-07) agree: proved, broken by a witness, or undecided. Pure: it reads no file."""

from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation

__all__ = ["Mode", "Undecided", "Verdict", "Violation"]
