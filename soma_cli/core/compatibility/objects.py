"""The canonical group of objects: which names there must, may and must not be, and what their values are.

Names are either *listed* (some assertion has them) or *fresh*. Fresh names differ only in the patterns that they match:
each consistent choice of patterns is a class of names, and a class is as good as a listed name that has no bounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from soma_cli.core.compatibility.arrays import Goal, Solver
from soma_cli.core.compatibility.assertions import (
    Additional,
    Algebra,
    Assertion,
    Length,
    Literal,
    Names,
    Pattern,
    PatternProperty,
    Property,
    Required,
    size_among,
)
from soma_cli.core.compatibility.outcome import NOTHING, Found, Nothing, Outcome, Unknown, built

Scope = PatternProperty | Additional
Chosen = dict[str, Goal]
"""The names that the object will have, with what their values must be beyond what holds for every such name."""
_LARGEST = 500
_MOST_SHARED = 4
"""So many things that a name must be are tried together on one name."""


@dataclass(slots=True)
class _Group:
    least: int = 0
    most: int | None = None
    required: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    values: dict[str, list[Literal]] = field(default_factory=dict)
    """What a member is, if it is there."""
    broken: dict[str, list[Literal]] = field(default_factory=dict)
    """What a member that must be there is."""
    scopes: list[Scope] = field(default_factory=list)
    somewhere: list[tuple[Scope, Literal]] = field(default_factory=list)
    """Some member in the scope has such a value."""
    names: list[Literal] = field(default_factory=list)
    some_name: list[Literal] = field(default_factory=list)

    def all_scopes(self) -> list[Scope]:
        return [*self.scopes, *(scope for scope, _ in self.somewhere)]

    def listed(self) -> list[str]:
        listed = dict.fromkeys([*self.required, *self.values, *sorted(self.absent)])
        for scope in self.all_scopes():
            listed |= dict.fromkeys(sorted(scope.names) if isinstance(scope, Additional) else ())
        return list(listed)

    def patterns(self) -> list[str]:
        found: dict[str, None] = {}
        for scope in self.all_scopes():
            found |= dict.fromkeys(sorted(scope.patterns) if isinstance(scope, Additional) else [scope.pattern])
        return list(found)


def _group(literals: dict[Literal, Assertion]) -> _Group:
    group = _Group()
    for literal, assertion in literals.items():
        holds = literal > 0
        match assertion:
            case Length(_, least) if holds:
                group.least = max(group.least, least)
            case Length(_, least):
                group.most = least - 1 if group.most is None else min(group.most, least - 1)
            case Required(name) if holds:
                group.required.append(name)
            case Required(name):
                group.absent.add(name)
            case Property(name, value) if holds:
                group.values.setdefault(name, []).append(value)
            case Property(name, value):
                group.required.append(name)
                group.broken.setdefault(name, []).append(-value)
            case PatternProperty(_, value) | Additional(_, _, value) if not holds:
                group.somewhere.append((assertion, -value))
            case PatternProperty() | Additional():
                group.scopes.append(assertion)
            case Names(value):
                (group.names if holds else group.some_name).append(value if holds else -value)
    return group


class Members:
    """Finds an object for one group."""

    def __init__(
        self,
        literals: dict[Literal, Assertion],
        solver: Solver,
        algebra: Algebra,
        matches: Callable[[str, str], bool],
        holds: Callable[[Literal, Any], bool],
    ) -> None:
        self._group = _group(literals)
        self._literal = size_among(literals)
        self._solver = solver
        self._algebra = algebra
        self._matches = matches
        self._holds = holds
        self._listed = self._group.listed()
        self._unknown: Unknown | None = None

    def witness(self) -> Outcome:
        group = self._group
        least = max(group.least, len(set(group.required)))
        if group.absent.intersection(group.required) or (group.most is not None and group.most < least):
            return NOTHING
        if group.least > _LARGEST:
            return Unknown(self._literal, f"an object of {group.least} members was not built")
        chosen: Chosen = {}
        for name in group.required:
            chosen[name] = frozenset(group.broken.get(name, ()))
            if not self._may_be(name, chosen[name]):
                return self._unknown or NOTHING
        return self._choose(chosen, list(group.some_name), list(group.somewhere))

    def _choose(self, chosen: Chosen, names: list[Literal], somewhere: list[tuple[Scope, Literal]]) -> Outcome:
        """Choose a name for each thing that some member must be, then fill up."""
        if self._group.most is not None and len(chosen) > self._group.most:
            return self._too_many()
        if names:
            return self._first(self._choose(more, names[1:], somewhere) for more in self._with_name(chosen, names))
        if somewhere:
            return self._first(
                self._choose(more, [], somewhere[1:]) for more in self._with_value(chosen, *somewhere[0])
            )
        return self._filled(chosen)

    def _first(self, outcomes: Iterator[Outcome]) -> Outcome:
        unknown: Unknown | None = None
        for outcome in outcomes:
            if isinstance(outcome, Found):
                return outcome
            unknown = outcome if isinstance(outcome, Unknown) else unknown
        return unknown or self._unknown or NOTHING

    def _too_many(self) -> Outcome:
        if len(self._group.some_name) > _MOST_SHARED:
            return Unknown(self._literal, "not every choice of names was tried")
        return NOTHING

    def _with_name(self, chosen: Chosen, wanted: list[Literal]) -> Iterator[Chosen]:
        """Ways to have a member whose name is as wanted first; a fresh name may be as wanted later, too."""
        first, later = wanted[0], wanted[1:_MOST_SHARED]
        if any(self._holds(first, name) for name in chosen):
            yield chosen
            return
        for name in self._listed:
            if self._holds(first, name) and self._may_be(name, frozenset()):
                yield {**chosen, name: frozenset()}
        shared = [both for size in range(len(later), -1, -1) for both in itertools.combinations(later, size)]
        for class_goal in self._fresh():
            for both in shared:
                for name in self._new_names(class_goal.union([first], both), chosen, 1):
                    yield {**chosen, name: frozenset()}

    def _with_value(self, chosen: Chosen, scope: Scope, wanted: Literal) -> Iterator[Chosen]:
        """Ways to have a member in the scope whose value is as wanted."""
        known = [name for name in (*chosen, *(n for n in self._listed if n not in chosen)) if self._within(scope, name)]
        for name in known:
            extra = chosen.get(name, frozenset()) | {wanted}
            if self._may_be(name, extra):
                yield {**chosen, name: extra}
        for class_goal in self._fresh(scope, frozenset([wanted])):
            for name in self._new_names(class_goal, chosen, 1):
                yield {**chosen, name: frozenset([wanted])}

    def _filled(self, chosen: Chosen) -> Outcome:
        """Add members until there are enough, then find all values."""
        filled = dict(chosen)
        for name in self._listed:
            if len(filled) < self._group.least and name not in filled and self._may_be(name, frozenset()):
                filled[name] = frozenset()
        if len(filled) < self._group.least:
            for class_goal in self._fresh():
                names = self._new_names(class_goal, filled, self._group.least - len(filled))
                filled |= dict.fromkeys(names, frozenset())
                if len(filled) == self._group.least:
                    break
        if len(filled) < self._group.least:
            return self._unknown or NOTHING
        return self._members(filled)

    def _members(self, chosen: Chosen) -> Outcome:
        parts: dict[str, Found] = {}
        for name, extra in chosen.items():
            outcome = self._solver.solve(self._goal(name) | extra)
            if not isinstance(outcome, Found):
                return outcome
            parts[name] = outcome
        return built({name: part.value for name, part in parts.items()}, parts.values(), self._literal)

    def _may_be(self, name: str, extra: Goal) -> bool:
        """False if it is proved that there is no member of this name with such a value."""
        if name in self._group.absent or not all(self._holds(literal, name) for literal in self._group.names):
            return False
        return self._takes(self._goal(name) | extra)

    def _takes(self, goal: Goal) -> bool:
        return not isinstance(self._solver.solve(goal), Nothing)

    def _goal(self, name: str) -> Goal:
        scoped = [scope.value for scope in self._group.scopes if self._within(scope, name)]
        return frozenset([*self._group.values.get(name, ()), *scoped])

    def _within(self, scope: Scope, name: str) -> bool:
        if isinstance(scope, PatternProperty):
            return self._matches(scope.pattern, name)
        return name not in scope.names and not any(self._matches(pattern, name) for pattern in scope.patterns)

    def _new_names(self, class_goal: Goal, chosen: Chosen, count: int) -> list[str]:
        taken = sum(name not in self._group.required for name in chosen)
        names, unknown = self._solver.distinct(class_goal, count + taken)
        self._unknown = self._unknown or unknown
        return [name.value for name in names if name.value not in chosen][:count]

    def _fresh(self, scope: Scope | None = None, wanted: Goal = frozenset()) -> Iterator[Goal]:
        """The classes of fresh names, in the scope, whose values may be as wanted: what a name is."""
        algebra, patterns = self._algebra, self._group.patterns()
        inside = frozenset([scope.pattern] if isinstance(scope, PatternProperty) else ())
        outside = scope.patterns if isinstance(scope, Additional) else frozenset()
        start = [algebra.types(["string"]), *self._group.names]
        start += [-algebra.among("string", self._listed)] if self._listed else []
        start += [algebra.number(Pattern(text)) for text in sorted(inside)]
        start += [-algebra.number(Pattern(text)) for text in sorted(outside)]
        rest = [text for text in patterns if text not in inside | outside]
        return self._split(frozenset(start), rest, inside, wanted)

    def _split(self, goal: Goal, patterns: list[str], matched: frozenset[str], wanted: Goal) -> Iterator[Goal]:
        """By whether names match each of the patterns: what no value or no name is left for is not split further."""
        value = self._value_goal(matched, frozenset(patterns)) | wanted
        if not self._takes(value) or not self._takes(goal):
            return
        if not patterns:
            yield goal
            return
        literal = self._algebra.number(Pattern(patterns[0]))
        yield from self._split(goal | {-literal}, patterns[1:], matched, wanted)
        yield from self._split(goal | {literal}, patterns[1:], matched | {patterns[0]}, wanted)

    def _value_goal(self, matched: frozenset[str], undecided: frozenset[str]) -> Goal:
        """What holds for the value of a name that matches some patterns, others not, and the undecided perhaps."""
        found = []
        for scope in self._group.scopes:
            if isinstance(scope, PatternProperty):
                found += [scope.value] if scope.pattern in matched else []
            else:
                found += [] if scope.patterns & (matched | undecided) else [scope.value]
        return frozenset(found)
