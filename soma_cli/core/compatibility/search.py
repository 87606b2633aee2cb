"""The search for a value that meets a goal: a set of literals that must hold together.

A goal is looked at type by type. For one type its literals come apart into assertions, which a canonical group solves,
and clauses (disjunctions), which are explored depth first, and only where the group's own solution breaks them. Groups
of arrays and objects make goals of their own for what is inside.

There are finitely many goals over finitely many literals. A goal that comes up again inside itself is taken to have no
solution there: the smallest solution of a goal never holds another one. What was found to have none under such an
assumption is kept apart until the goal at its head is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from soma_cli.core.compatibility import arrays, numbers
from soma_cli.core.compatibility.arrays import Goal
from soma_cli.core.compatibility.assertions import (
    FALSE,
    TRUE,
    TYPES,
    Additional,
    Algebra,
    All,
    Always,
    Among,
    Assertion,
    Contains,
    Item,
    Items,
    Literal,
    OneOf,
    PatternProperty,
    Property,
    Ref,
    Types,
    type_of,
)
from soma_cli.core.compatibility.budget import Meter
from soma_cli.core.compatibility.evaluation import Evaluation
from soma_cli.core.compatibility.objects import Members
from soma_cli.core.compatibility.outcome import NOTHING, Found, Nothing, Outcome, Unknown
from soma_cli.core.compatibility.reading import equal
from soma_cli.core.compatibility.strings import Strings

_NEVER = 1 << 62
_BITS = {name: 1 << place for place, name in enumerate(TYPES)}
_ALL_BITS = (1 << len(TYPES)) - 1
_MOST_LOOKAHEAD = 12
_REF_DEPTH = 8
_LARGEST_EXCLUDED = 2_000

Clause = tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """What is to hold of a value of one type: `said` is all that was taken in, `assertions` what groups solve."""

    said: frozenset[Literal]
    assertions: dict[Literal, Assertion]
    clauses: tuple[Clause, ...]


_EMPTY = Branch(frozenset(), {}, ())


class Search:
    """One algebra's goals. Raises BudgetSpent, or RecursionError where values would nest too deep."""

    def __init__(self, algebra: Algebra, target: Callable[[Literal], Literal], meter: Meter) -> None:
        self._algebra = algebra
        self._target = target
        self._meter = meter
        self._strings = Strings(meter)
        self.evaluation = Evaluation(algebra, target, self._strings.matches, meter)
        self._types: dict[Literal, int] = {}
        self._depths: dict[Literal, int] = {}
        self._settled: dict[Hashable, tuple[Outcome, int]] = {}
        self._assumed: list[Hashable] = []
        self._open: dict[Goal, int] = {}
        self._lowest = _NEVER

    def solve(self, goal: Goal) -> Outcome:
        """A value for which every literal of the goal holds."""
        goal = frozenset(map(self._dereferenced, goal))
        if goal in self._open:
            self._lowest = min(self._lowest, self._open[goal])
            return NOTHING
        if (known := self._known(goal)) is not None:
            return known
        self._open[goal] = len(self._open)
        try:
            return self._settle(goal, lambda: self._solve(goal), head=True)
        finally:
            del self._open[goal]

    def _dereferenced(self, literal: Literal) -> Literal:
        """Goals that mean the same should be the same."""
        while isinstance(self._algebra[literal], Ref):
            target = self._target(abs(literal))
            literal = target if literal > 0 else -target
        return literal

    def distinct(self, goal: Goal, count: int) -> tuple[list[Found], Unknown | None]:
        """Up to so many different values; with fewer, None says that there are no more."""
        found: list[Found] = []
        while len(found) < count:
            outcome = self.solve(goal)
            if not isinstance(outcome, Found):
                return found, outcome if isinstance(outcome, Unknown) else None
            if outcome.size > _LARGEST_EXCLUDED:
                return found, Unknown(next(iter(goal), 0), "different values would be too large")
            found.append(outcome)
            goal = goal | {-equal(self._algebra, outcome.value)}
        return found, None

    def _known(self, key: Hashable) -> Outcome | None:
        if (known := self._settled.get(key)) is None:
            return None
        self._lowest = min(self._lowest, known[1])
        return known[0]

    def _settle(self, key: Hashable, outcome_of: Callable[[], Outcome], *, head: bool) -> Outcome:
        """Find an outcome and keep it; `head`: the key is an open goal, of which others may assume something."""
        outside, self._lowest = self._lowest, _NEVER
        mark = len(self._assumed)
        outcome = outcome_of()
        lowest = self._lowest
        if not isinstance(outcome, Nothing):
            lowest = _NEVER  # only what is refuted stands on assumptions
            if head:
                self._forget(mark)
        elif lowest < len(self._open) - head:
            self._assumed.append(key)
        else:
            self._confirm(mark)
            lowest = _NEVER
        self._settled[key] = (outcome, lowest)
        self._lowest = min(outside, lowest)
        return outcome

    def _forget(self, mark: int) -> None:
        """The goal that was taken to have no solution has one, or may have one."""
        for key in self._assumed[mark:]:
            self._settled.pop(key, None)
        del self._assumed[mark:]

    def _confirm(self, mark: int) -> None:
        """The goal that was taken to have no solution has none."""
        for key in self._assumed[mark:]:
            self._settled[key] = (self._settled[key][0], _NEVER)
        del self._assumed[mark:]

    def _solve(self, goal: Goal) -> Outcome:
        self._meter.spend()
        possible = _ALL_BITS
        for literal in goal:
            if literal == FALSE or -literal in goal:
                return NOTHING
            possible &= self._types_of(literal)
        unknown: Unknown | None = None
        for type_name in TYPES:
            if possible & _BITS[type_name]:
                outcome = self._of_type(type_name, goal)
                if isinstance(outcome, Found):
                    return outcome
                unknown = outcome if isinstance(outcome, Unknown) else unknown
        return unknown or NOTHING

    def _of_type(self, type_name: str, goal: Goal) -> Outcome:
        branch = self._extended(_EMPTY, type_name, sorted(goal, key=abs))
        return NOTHING if branch is None else self._explore(type_name, branch)

    def _explore(self, type_name: str, branch: Branch) -> Outcome:
        self._meter.spend()
        outcome = self._group(type_name, branch.assertions)
        if isinstance(outcome, Nothing):
            return outcome
        pending = [clause for clause in branch.clauses if branch.said.isdisjoint(clause)]
        if isinstance(outcome, Found):
            value = outcome.value
            pending = [c for c in pending if not any(self.evaluation.holds(literal, value) for literal in c)]
        if not pending:
            return outcome
        unknown: Unknown | None = None
        for other in self._ways(type_name, branch, pending):
            explored = self._explore(type_name, other)
            if isinstance(explored, Found):
                return explored
            unknown = explored if isinstance(explored, Unknown) else unknown
        return unknown or NOTHING

    def _ways(self, type_name: str, branch: Branch, pending: list[Clause]) -> Iterable[Branch]:
        """The branches of the clause that leaves the fewest."""
        pending = sorted(pending, key=len)[:_MOST_LOOKAHEAD]
        if len(pending) == 1:
            return self._branches(type_name, branch, pending[0])
        best: list[Branch] | None = None
        for clause in pending:
            ways = [
                w
                for w in self._branches(type_name, branch, clause)
                if not isinstance(self._group(type_name, w.assertions), Nothing)
            ]
            if best is None or len(ways) < len(best):
                best = ways
            if len(best) < 2:
                break
        return best or []

    def _branches(self, type_name: str, branch: Branch, clause: Clause) -> Iterator[Branch]:
        """One by one: what refutes a member's value alone is cheaper than a whole group, and comes first."""
        said: dict[str, list[Literal]] = {}
        for literal, assertion in branch.assertions.items():
            if literal > 0 and isinstance(assertion, Property):
                said.setdefault(assertion.name, []).append(assertion.value)
        for literal in sorted(clause, key=self._depth_of):
            if not self._refuted(literal, said):
                extended = self._extended(branch, type_name, [literal])
                if extended is not None:
                    yield extended

    def _refuted(self, literal: Literal, said: dict[str, list[Literal]]) -> bool:
        """Whether it wants a member to be what its value cannot be."""
        node = self._algebra[literal]
        if literal > 0 or not isinstance(node, Property) or node.name not in said:
            return False
        return isinstance(self.solve(frozenset([*said[node.name], -node.value])), Nothing)

    def _extended(self, branch: Branch, type_name: str, literals: list[Literal]) -> Branch | None:
        """The branch with more literals, taken apart; None where they contradict each other."""
        said, assertions, clauses = set(branch.said), dict(branch.assertions), list(branch.clauses)
        queue = list(literals)
        for literal in queue:  # grows while it is read
            if literal == TRUE or literal in said:
                continue
            if literal == FALSE or -literal in said or not self._types_of(literal) & _BITS[type_name]:
                return None
            said.add(literal)
            node = self._algebra[literal]
            match node:
                case Always() | Types():
                    continue
                case Ref():
                    queue.append(self._dereferenced(literal))
                case All(parts) if literal > 0:
                    queue.extend(parts)
                case All(parts):
                    self._add_clause([-part for part in parts], type_name, said, clauses, queue)
                case OneOf(parts):
                    ways = self._exactly_one(parts) if literal > 0 else self._none_or_two(parts)
                    self._add_clause(ways, type_name, said, clauses, queue)
                case _:
                    if type_of(node) == type_name:
                        assertions[literal] = node
        return Branch(frozenset(said), assertions, tuple(clauses))

    def _add_clause(
        self, literals: list[Literal], type_name: str, said: set[Literal], clauses: list[Clause], queue: list[Literal]
    ) -> None:
        bit = _BITS[type_name]
        kept = [part for part in literals if self._types_of(part) & bit and part != FALSE and -part not in said]
        if len(kept) > 1:
            clauses.append(tuple(kept))
        else:
            queue.append(kept[0] if kept else FALSE)

    def _exactly_one(self, parts: Clause) -> list[Literal]:
        ways = []
        for place, part in enumerate(parts):
            others = [-other for number, other in enumerate(parts) if number != place]
            ways.append(self._algebra.all([part, *others]))
        return ways

    def _none_or_two(self, parts: Clause) -> list[Literal]:
        pairs = [(a, b) for place, a in enumerate(parts) for b in parts[place + 1 :]]
        return [self._algebra.all([-part for part in parts]), *(self._algebra.all(pair) for pair in pairs)]

    def _group(self, type_name: str, assertions: dict[Literal, Assertion]) -> Outcome:
        key = (type_name, frozenset(assertions))
        if (known := self._known(key)) is not None:
            return known
        return self._settle(key, lambda: self._solve_group(type_name, assertions), head=False)

    def _solve_group(self, type_name: str, assertions: dict[Literal, Assertion]) -> Outcome:
        self._meter.spend()
        match type_name:
            case "null":
                return Found(None)
            case "boolean":
                return _boolean(assertions)
            case "number":
                return numbers.witness(assertions)
            case "string":
                return self._strings.witness(assertions)
            case "array":
                return arrays.witness(assertions, self)
        matches, holds = self._strings.matches, self.evaluation.holds
        return Members(assertions, self, self._algebra, matches, holds).witness()

    def _types_of(self, literal: Literal) -> int:
        """The types, as bits, of which there may be a value for which the literal holds."""
        if (known := self._types.get(literal)) is None:
            known = self._types[literal] = self._find_types(literal)
        return known

    def _depth_of(self, literal: Literal) -> int:
        """How deep a value must nest, at a guess, for the literal to hold: what is shallow is tried first."""
        if literal not in self._depths:
            self._depths[literal] = _REF_DEPTH  # for as long as it is looked at
            self._depths[literal] = self._find_depth(literal)
        return self._depths[literal]

    def _find_depth(self, literal: Literal) -> int:
        match self._algebra[literal]:
            case All(parts):
                return (max if literal > 0 else min)(self._depth_of(part if literal > 0 else -part) for part in parts)
            case Ref():
                return _REF_DEPTH
            case Item(_, value) | Items(_, value) | Property(_, value) | PatternProperty(_, value) if literal < 0:
                return 1 + self._depth_of(-value)
            case Additional(_, _, value) if literal < 0:
                return 1 + self._depth_of(-value)
            case Contains(value) if literal > 0:
                return 1 + self._depth_of(value)
        return 0

    def _find_types(self, literal: Literal) -> int:
        match node := self._algebra[literal]:
            case Always():
                return _ALL_BITS if literal > 0 else 0
            case All(parts):
                bits = _ALL_BITS if literal > 0 else 0
                for part in parts:
                    bits = bits & self._types_of(part) if literal > 0 else bits | self._types_of(-part)
                return bits
            case OneOf() | Ref():
                return _ALL_BITS
            case Types(names):
                bits = sum(_BITS[name] for name in names)
                return bits if literal > 0 else _ALL_BITS & ~bits
        return _ALL_BITS if literal > 0 else _BITS[type_of(node)]


def _boolean(assertions: dict[Literal, Assertion]) -> Outcome:
    for value in (False, True):
        allowed = (
            (value in among.values) == (literal > 0)
            for literal, among in assertions.items()
            if isinstance(among, Among)
        )
        if all(allowed):
            return Found(value)
    return NOTHING
