"""The canonical group of numbers: an interval, a divisor, divisors that must not divide, values taken out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from soma_cli.core.compatibility.assertions import Among, Assertion, Bound, Literal, MultipleOf, Scalar
from soma_cli.core.compatibility.outcome import NOTHING, Found, Outcome, Unknown
from soma_cli.core.compatibility.reading import number_of

_MOST_TRIED = 20_000
_STEPS = (0, 1, 2, 3, 4, 5, 7, 10, 11, 13, 17, 100, 1000, 10**6, 10**9, 10**12, 10**15)
_FRACTIONS = tuple(Fraction(a, b) for a, b in ((1, 2), (1, 4), (1, 10), (1, 100), (3, 1000), (7, 10**6), (1, 10**9)))


@dataclass(slots=True)
class _Group:
    low: Fraction | None = None
    high: Fraction | None = None
    low_strict: bool = False
    high_strict: bool = False
    divisor: Fraction | None = None
    not_divisors: list[Fraction] = field(default_factory=list)
    only: set[Scalar] | None = None
    excluded: set[Scalar] = field(default_factory=set)

    def holds(self, value: Fraction) -> bool:
        return (
            self.within(value)
            and value not in self.excluded
            and (self.only is None or value in self.only)
            and (self.divisor is None or divides(self.divisor, value))
            and not any(divides(divisor, value) for divisor in self.not_divisors)
        )

    def within(self, value: Fraction) -> bool:
        above = self.low is None or value > self.low or (value == self.low and not self.low_strict)
        return above and (self.high is None or value < self.high or (value == self.high and not self.high_strict))


def divides(divisor: Fraction, value: Fraction) -> bool:
    return (value / divisor).denominator == 1


def witness(literals: dict[Literal, Assertion]) -> Outcome:
    """A number for which all the literals hold: the simplest-looking one that is found."""
    group = _group(literals)
    empty = group.low is not None and group.high is not None and not group.within(group.low) and group.low >= group.high
    if empty:
        return NOTHING
    if group.only is not None:
        candidates: Iterable[Fraction] = sorted((v for v in group.only if isinstance(v, Fraction)), key=_plainness)
        return _first(group, candidates, exhaustive=True, literals=literals)
    if group.divisor is not None:
        return _multiple(group, group.divisor, literals)
    point = group.low is not None and group.low == group.high
    return _first(group, _dense(group), exhaustive=point, literals=literals)


def _group(literals: dict[Literal, Assertion]) -> _Group:
    group = _Group()
    for literal, assertion in literals.items():
        holds = literal > 0
        if isinstance(assertion, Bound):
            # To deny an upper bound is a lower one, strict where the other was not.
            _bound(group, assertion.limit, strict=assertion.strict == holds, upper=assertion.upper == holds)
        elif isinstance(assertion, MultipleOf) and holds:
            divisor = assertion.divisor
            group.divisor = divisor if group.divisor is None else _least_common_multiple(group.divisor, divisor)
        elif isinstance(assertion, MultipleOf):
            group.not_divisors.append(assertion.divisor)
        elif isinstance(assertion, Among) and holds:
            group.only = set(assertion.values) if group.only is None else group.only & assertion.values
        elif isinstance(assertion, Among):
            group.excluded |= assertion.values
    return group


def _bound(group: _Group, limit: Fraction, *, strict: bool, upper: bool) -> None:
    if upper:
        if group.high is None or limit < group.high or (limit == group.high and strict):
            group.high, group.high_strict = limit, strict
    elif group.low is None or limit > group.low or (limit == group.low and strict):
        group.low, group.low_strict = limit, strict


def _least_common_multiple(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(math.lcm(a.numerator, b.numerator), math.gcd(a.denominator, b.denominator))


def _multiple(group: _Group, divisor: Fraction, literals: dict[Literal, Assertion]) -> Outcome:
    """Multiples of the divisor, from the one nearest to zero.

    What must not divide takes out every q-th of them, with a period of their common multiple: a period in which all
    are taken out proves that all are taken out everywhere.
    """
    periods = [_least_common_multiple(divisor, other) / divisor for other in group.not_divisors]
    if any(period == 1 for period in periods):
        return NOTHING
    period = math.lcm(*(int(period) for period in periods))
    enough = 2 * (period * (len(group.excluded) + 1)) + 2
    tried = list(itertools.islice(_multiples(group, divisor), min(enough, _MOST_TRIED) + 1))
    if (number := _representable(group, tried)) is not None:
        return Found(number)
    if len(tried) <= min(enough, _MOST_TRIED) and not any(map(group.holds, tried)):
        return NOTHING
    # Far from zero, floats have no fractions.
    whole = itertools.islice(_multiples(group, _least_common_multiple(divisor, Fraction(1))), _MOST_TRIED)
    number = _representable(group, whole)
    return _stopped(literals) if number is None else Found(number)


def _representable(group: _Group, values: Iterable[Fraction]) -> int | float | None:
    """The first of the values that is in the group, and that JSON can have."""
    numbers = (json_number(value) for value in values if group.holds(value))
    return next((number for number in numbers if number is not None), None)


def _multiples(group: _Group, divisor: Fraction) -> Iterator[Fraction]:
    """Those within the interval, the nearest to zero first."""
    low = None if group.low is None else math.ceil(group.low / divisor)
    high = None if group.high is None else math.floor(group.high / divisor)
    start = max(0, 0 if low is None else low)
    start = start if high is None else min(start, high)
    if group.within(start * divisor):
        yield start * divisor
    up, down = start + 1, start - 1
    while (high is None or up <= high) or (low is None or down >= low):
        for place in (up, down):
            if (low is None or low <= place) and (high is None or place <= high) and group.within(place * divisor):
                yield place * divisor
        up, down = up + 1, down - 1


def _dense(group: _Group) -> Iterator[Fraction]:
    """Simple numbers of an interval that has more of them than anything can take out, unless it is a point."""
    ends = [end for end in (group.low, group.high) if end is not None]
    if len(ends) == 2:
        width = ends[1] - ends[0]
        middle = ends[0] + width / 2
        ends += [middle, Fraction(round(middle)), *(ends[0] + width * part for part in _FRACTIONS)]
    for start in sorted([Fraction(0), *ends, *(Fraction(math.floor(end)) for end in ends)], key=_plainness):
        for step in _STEPS:
            yield from (start + step, start - step)
    for start in [Fraction(0), *ends]:
        for step in (0, 1, 7, 1000):
            for fraction in _FRACTIONS:
                yield from (start + step + fraction, start - step - fraction)


def _first(
    group: _Group, candidates: Iterable[Fraction], *, exhaustive: bool, literals: dict[Literal, Assertion]
) -> Outcome:
    passed_over = False
    for value in candidates:
        if group.holds(value):
            if (number := json_number(value)) is not None:
                return Found(number)
            passed_over = True
    return NOTHING if exhaustive and not passed_over else _stopped(literals)


def _stopped(literals: dict[Literal, Assertion]) -> Unknown:
    return Unknown(next(iter(literals), 0), "no number was found, and it was not proved that there is none")


def json_number(value: Fraction) -> int | float | None:
    """The number as JSON has it, None where no float is equal to it."""
    if value.denominator == 1:
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number_of(number) == value else None


def _plainness(value: Fraction) -> tuple[int, int, bool]:
    return (value.denominator, abs(value.numerator), value < 0)
