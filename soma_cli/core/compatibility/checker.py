"""Whether every document of the writer's schema is one of the reader's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soma_cli.core.compatibility.budget import Budget, Meter
from soma_cli.core.compatibility.comparison import Comparison
from soma_cli.core.compatibility.explanation import Refusal, refusals
from soma_cli.core.compatibility.refusal import accepted_schema
from soma_cli.core.compatibility.validation import validator
from soma_cli.core.compatibility.verdict import Undecided, Verdict
from soma_cli.core.compatibility.weakening import without

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

_MOST_VIOLATIONS = 20
_ENOUGH = Budget()
_DISAGREEMENT = Undecided("", "the validator does not agree with the document that the search has built")
_TOO_DEEP = Undecided("", "what was found nests too deep for the validator")


def check(writer: Any, reader: Any, budget: Budget = _ENOUGH) -> Verdict:
    """Is every document that the writer's schema accepts accepted by the reader's?

    Both are parsed JSON. Raises InputRejected for what is no draft-07 schema.
    """
    writes, reads = accepted_schema(writer), accepted_schema(reader)
    found, undecided = _violations(reader, Comparison(writer, Meter(budget)), writes, reads)
    if found:
        return Verdict(False, [refusal.violation for refusal in found], [undecided] if undecided else [])
    return Verdict(None, [], [undecided]) if undecided else Verdict(True)


def _violations(
    reader: Any, comparison: Comparison, writes: Draft7Validator, reads: Draft7Validator
) -> tuple[list[Refusal], Undecided | None]:
    """What was found until nothing more is, or until the search stops: each time the reader's schema is asked without
    the assertions that were already seen to refuse a witness."""
    found: dict[tuple[str, str | None], Refusal] = {}
    weaker, refuses = reader, reads
    while len(found) < _MOST_VIOLATIONS:
        outcome = comparison.witness(weaker)
        if outcome is None or isinstance(outcome, Undecided):
            return list(found.values()), outcome
        try:
            new = _new(list(refusals(weaker, refuses, outcome.value)), found)
            agreed = writes.is_valid(outcome.value) and not reads.is_valid(outcome.value)
        except ValueError:
            return list(found.values()), _TOO_DEEP
        if not agreed or not new:
            return list(found.values()), None if found else _DISAGREEMENT
        found |= {refusal.key: refusal for refusal in new}
        try:
            for refusal in new:
                weaker = without(weaker, refusal.violation.pointer, refusal.name)
            refuses = validator(weaker)
        except (LookupError, ValueError):  # a reference led to what was taken out
            break
    return list(found.values()), None


def _new(refused: list[Refusal], found: dict[tuple[str, str | None], Refusal]) -> list[Refusal]:
    return [refusal for refusal in refused if refusal.key not in found]
