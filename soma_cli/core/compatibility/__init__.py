"""Whether two JSON Schemas (draft-07) agree: proved, broken by a witness, or undecided. Pure: reads and fetches nothing."""

from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation

__all__ = ["Mode", "Undecided", "Verdict", "Violation"]
