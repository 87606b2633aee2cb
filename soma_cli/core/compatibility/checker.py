"""Whether every document of the writer's schema is one of the reader's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from soma_cli.core.compatibility.budget import Budget
from soma_cli.core.compatibility.validation import validator
from soma_cli.core.compatibility.verdict import Mode, Undecided, Verdict, Violation
from soma_cli.core.serialization import json_pointer


def check(writer: Any, reader: Any, budget: Budget = Budget()) -> Verdict:  # noqa: B008 - frozen
    """Is every document that the writer's schema accepts accepted by the reader's?"""
    if writer == reader:
        return Verdict(True)
    old, new = validator(writer), validator(reader)
    violations: dict[str, Violation] = {}
    for document in list(_guesses(writer, reader, 3))[: min(budget.steps, 5000)]:
        if old.is_valid(document) and not new.is_valid(document):
            for error in new.iter_errors(document):
                pointer = json_pointer(error.schema_path)
                keyword = str(error.schema_path[-1]) if error.schema_path else "false"
                violations.setdefault(pointer, Violation(pointer, keyword, error.message, document))
    if violations:
        return Verdict(False, list(violations.values()))
    return Verdict(None, [], [Undecided("", "the schemas differ, and no witness was found")])


def check_version(new: Any, old: Sequence[Any], mode: Mode, budget: Budget = Budget()) -> Verdict:  # noqa: B008
    """Does a new version agree with older ones (oldest first), the way the mode asks?"""
    if mode is Mode.NONE or not old:
        return Verdict(True)
    versions = old if mode.endswith("_TRANSITIVE") else old[-1:]
    verdicts = []
    for version in versions:
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


_TEXTS = ["00000000-0000-0000-0000-000000000000", "2000-01-01T00:00:00Z"]
_ANYTHING: list[Any] = [None, True, 0, 1, -1, 1.5, 10**6, "", "a", "a" * 50, *_TEXTS, [], [0], ["a", "a"], {}, {"a": 0}]


def _guesses(writer: Any, reader: Any, depth: int) -> Iterator[Any]:
    schemas = [part for part in (writer, reader) if isinstance(part, dict)]
    for part in schemas:
        yield from part.get("enum", [])
        yield from (part[k] + step for k in ("minimum", "maximum") if k in part for step in (-1, 0, 1))
    yield from _ANYTHING
    if depth:
        yield from _objects([part.get("properties", {}) for part in schemas], schemas, depth)
        for items in (part["items"] for part in schemas if isinstance(part.get("items"), dict)):
            yield from ([item] for item in _guesses(items, {}, depth - 1))


def _objects(properties: list[dict[str, Any]], schemas: list[dict[str, Any]], depth: int) -> Iterator[Any]:
    names = list(dict.fromkeys(name for members in properties for name in members))
    sides = [[members.get(name, {}) for members in properties] + [{}, {}] for name in names]
    guesses = {n: list(_guesses(side[0], side[1], depth - 1)) for n, side in zip(names, sides, strict=True)}
    writer = validator(schemas[0])
    base = {
        n: next((v for v in g if validator(sides[i][0]).is_valid(v)), None) for i, (n, g) in enumerate(guesses.items())
    }
    required = {k: v for k, v in base.items() if k in schemas[0].get("required", [])}
    for start in (required, base):
        if writer.is_valid(start):
            yield start
        for name in names:
            yield {k: v for k, v in start.items() if k != name}
            yield from ({**start, name: value} for value in guesses[name])
