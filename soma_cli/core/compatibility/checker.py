"""Whether every document of the writer's schema is one of the reader's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from soma_cli.core.compatibility.budget import Budget, Meter
from soma_cli.core.compatibility.comparison import Comparison
from soma_cli.core.compatibility.refusal import refused_schema
from soma_cli.core.compatibility.validation import validator
from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation
from soma_cli.core.compatibility.weakening import keyword_of, without
from soma_cli.core.serialization import json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator, ValidationError

_MOST_VIOLATIONS = 20
_LONGEST_SENTENCE = 240
_ENOUGH = Budget()


class _Found(NamedTuple):
    violation: Violation
    path: list[str | int]
    name: str | None


def check(writer: Any, reader: Any, budget: Budget = _ENOUGH) -> Verdict:
    """Is every document that the writer's schema accepts accepted by the reader's?

    Both are parsed JSON. Raises InputRejected for what is no draft-07 schema.
    """
    refused_schema(writer)
    refused_schema(reader)
    writes, reads = validator(writer), validator(reader)
    comparison = Comparison(writer, Meter(budget))
    found: dict[tuple[str, str], Violation] = {}
    weaker, undecided = reader, None
    while len(found) < _MOST_VIOLATIONS:
        outcome = comparison.witness(weaker)
        if outcome is None or isinstance(outcome, Undecided):
            undecided = outcome
            break
        if not (writes.is_valid(outcome.value) and not reads.is_valid(outcome.value)):
            undecided = Undecided("", "the validator does not agree with the witness that the search has built")
            break
        new = [one for one in _violations(validator(weaker), outcome.value) if _key(one.violation) not in found]
        found |= {_key(one.violation): one.violation for one in new}
        try:
            for one in new:
                weaker = without(weaker, one.path, one.name)
        except LookupError:
            break
        if not new:
            break
    if found:
        return Verdict(False, list(found.values()), [undecided] if undecided else [])
    return Verdict(None, [], [undecided]) if undecided else Verdict(True)


def check_version(new: Any, old: Sequence[Any], mode: Mode, budget: Budget = _ENOUGH) -> Verdict:
    """Does a new version agree with older ones (oldest first), the way the mode asks?"""
    if mode is Mode.NONE or not old:
        return Verdict(True)
    verdicts = []
    for version in old if mode.endswith("_TRANSITIVE") else old[-1:]:
        if mode.startswith(("BACKWARD", "FULL")):
            verdicts.append(check(version, new, budget))
        if mode.startswith(("FORWARD", "FULL")):
            verdicts.append(check(new, version, budget))
    return _together(verdicts)


def _together(verdicts: list[Verdict]) -> Verdict:
    violations = [violation for verdict in verdicts for violation in verdict.violations]
    undecided = [stop for verdict in verdicts for stop in verdict.undecided]
    answers = {verdict.compatible for verdict in verdicts}
    return Verdict(False if False in answers else None if None in answers else True, violations, undecided)


def _key(violation: Violation) -> tuple[str, str]:
    """`required` has one violation for each name that it asks for."""
    return violation.pointer, violation.message if violation.keyword == "required" else ""


def _violations(reads: Draft7Validator, witness: Any) -> Iterator[_Found]:
    for error in reads.iter_errors(witness):
        path = list(error.schema_path)
        name = getattr(error.kind, "property", None) if path and path[-1] == "required" else None
        yield _Found(Violation(json_pointer(path), keyword_of(path), _sentence(error), witness), path, name)


def _sentence(error: ValidationError) -> str:
    message = error.message
    if len(message) > _LONGEST_SENTENCE:
        message = f"{message[: _LONGEST_SENTENCE - 3]}..."
    where = json_pointer(error.instance_path)
    return f"{message} (at {where})" if where else message
