"""The prune score: a pure function of a memory's times, accesses and importance, of a policy, and of `now`.

    S = w_age * log(1 + a) + w_recency / (1 + r) + w_access / (1 + exp(-(n - 1))) - w_importance * importance

with `a` the hours since creation, `r` the hours since the last access, `n` the number of accesses; prune when S is
above the threshold. With the default weights a recent or frequent access *raises* S, so it makes pruning more likely;
the policy `retain` turns those two signs.

log and exp may differ in the last bit between machines. Where that could decide, decimal arithmetic does, so the same
inputs select the same memories everywhere; the reported numbers are plain floats.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from soma_cli.core.errors import UsageError

HOUR_US = 3_600_000_000
# The last microsecond of the year 9999, where calendars and RFC 3339 end.
LAST_INSTANT_US = 253_402_300_800_000_000 - 1
DEFAULT_THRESHOLD = 2.0

# Products of two ordinary floats have up to about 110 digits: ties with the threshold stay exact ties. What is less, as
# what the logistic function lacks to 1 from some 277 reads on, is nothing.
_EXACT = Context(prec=120)
# From here on the logistic function is 1 to more digits than either arithmetic keeps.
_SATURATED = 1000


@dataclass(frozen=True, slots=True)
class Weights:
    """Factors of the four terms; any may be negative. Raises UsageError if one is not a finite number."""

    age: float = 1.0
    recency: float = 1.0
    access: float = 0.5
    importance: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_finite(f"the weight {field.name!r}", getattr(self, field.name))


@dataclass(frozen=True, slots=True)
class Policy:
    """Which memories to prune: those whose score is strictly above `threshold`. UsageError if not finite."""

    name: str
    weights: Weights
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        _require_finite(f"the threshold of the policy {self.name!r}", self.threshold)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is scored. Instants are microseconds since the epoch; a memory never read has `last_access_us` None.

    Raises UsageError if `access_count` is not an integer from 0 on, or `importance` is not a finite number.
    """

    created_at_us: int
    last_access_us: int | None = None
    access_count: int = 0
    importance: float = 1.0

    def __post_init__(self) -> None:
        if type(self.access_count) is not int or self.access_count < 0:
            raise UsageError(
                f"the access count is {self.access_count!r}, not an integer from 0 on", hint="write 0, 1, 2 ..."
            )
        _require_finite("the importance", self.importance)

    @property
    def read_at_us(self) -> int:
        """Start of the recency term: a memory never read counts from its creation."""
        return self.created_at_us if self.last_access_us is None else self.last_access_us


@dataclass(frozen=True, slots=True)
class Terms:
    """The signed, weighted contributions, which sum to the score up to rounding; `importance` is -w * importance."""

    age: float
    recency: float
    access: float
    importance: float


@dataclass(frozen=True, slots=True)
class Score:
    """`prune` is exact; `value` and `terms` are floats, cut to the largest float where they would be infinite."""

    value: float
    terms: Terms
    prune: bool


def f_age(hours: float) -> float:
    """log(1 + hours): grows ever slower, from 0. Hours below zero count as zero."""
    return math.log1p(max(0.0, hours))


def f_recency(hours: float) -> float:
    """1 / (1 + hours): falls from 1 towards 0. Hours below zero count as zero."""
    return 1.0 / (1.0 + max(0.0, hours))


def f_access(count: int) -> float:
    """1 / (1 + exp(-(count - 1))): 0.27 for a memory never read, 0.5 for one read once, then up to 1."""
    return 1.0 / (1.0 + math.exp(1 - min(count, _SATURATED)))


def score(inputs: Inputs, policy: Policy, now_us: int) -> Score:
    """The score at `now_us` (microseconds since the epoch), its terms, and whether the policy prunes the memory."""
    terms = _terms(inputs, policy.weights, now_us)
    value = terms.age + terms.recency + terms.access + terms.importance
    if abs(value - policy.threshold) > _error_bound(terms):
        return Score(value, terms, value > policy.threshold)
    exact = _exact_score(inputs, policy.weights, now_us)
    return Score(_within_floats(exact), terms, exact > Decimal(policy.threshold))


def prunes_at(inputs: Inputs, policy: Policy, now_us: int) -> int | None:
    """First instant from `now_us` on at which the policy prunes the memory if nobody reads it; None if there is none.

    Microseconds since the epoch, up to the end of the year 9999. The score may rise, fall and rise again; between two
    neighbouring peaks, if the first is not pruned and the second is, the score crosses the threshold once.
    """
    before = now_us
    if score(inputs, policy, before).prune:
        return before
    for after in sorted({*_possible_peaks(inputs, policy.weights), LAST_INSTANT_US}):
        if now_us < after <= LAST_INSTANT_US:
            if score(inputs, policy, after).prune:
                return _first_pruned(inputs, policy, before, after)
            before = after
    return None


def _first_pruned(inputs: Inputs, policy: Policy, kept: int, pruned: int) -> int:
    while pruned - kept > 1:
        middle = (kept + pruned) // 2
        if score(inputs, policy, middle).prune:
            pruned = middle
        else:
            kept = middle
    return pruned


def _possible_peaks(inputs: Inputs, weights: Weights) -> Iterator[int]:
    """Microseconds that hold every local maximum of S, and some harmless ones beside them.

    S changes its form where its clocks start. After both started, dS/dt = w_age/(1+a) - w_recency/(1+r)^2 has the sign
    of w_age*v^2 - w_recency*h*v - w_recency*h*d, with h an hour, v = h + r and d = a - r, all in microseconds; that
    quadratic falls through zero at one of its roots.
    """
    created, read = inputs.created_at_us, inputs.read_at_us
    yield from (created, read)
    age, recency = Fraction(weights.age), Fraction(weights.recency)
    scale = age.denominator * recency.denominator
    leading, linear = int(age * scale), int(-recency * scale) * HOUR_US
    discriminant = linear * linear - 4 * leading * linear * (read - created)
    if leading != 0 and discriminant >= 0:
        root = (-linear - math.isqrt(discriminant)) // (2 * leading)
        # The root is rounded by at most 1, down or up.
        yield from range(read - HOUR_US + root - 1, read - HOUR_US + root + 3)


def _terms(inputs: Inputs, weights: Weights, now_us: int) -> Terms:
    return Terms(
        age=_cut(weights.age * f_age((now_us - inputs.created_at_us) / HOUR_US)),
        recency=_cut(weights.recency * f_recency((now_us - inputs.read_at_us) / HOUR_US)),
        access=_cut(weights.access * f_access(inputs.access_count)),
        importance=_cut(-weights.importance * inputs.importance),
    )


def _error_bound(terms: Terms) -> float:
    """More than the float sum can be off: some units in the last place of each term.

    It is infinite where the magnitudes overflow together, and above zero where terms underflow, so that exact
    arithmetic decides in both cases.
    """
    magnitude = abs(terms.age) + abs(terms.recency) + abs(terms.access) + abs(terms.importance)
    return 1e-300 + 64 * sys.float_info.epsilon * magnitude


def _exact_score(inputs: Inputs, weights: Weights, now_us: int) -> Decimal:
    """S to 120 digits. decimal's ln and exp are correctly rounded, so they give the same digits everywhere."""
    with localcontext(_EXACT):
        age_us = max(0, now_us - inputs.created_at_us)
        recency_us = max(0, now_us - inputs.read_at_us)
        access = (1 - Decimal(min(inputs.access_count, _SATURATED))).exp()
        return (
            Decimal(weights.age) * (Decimal(HOUR_US + age_us) / HOUR_US).ln()
            + Decimal(weights.recency) * HOUR_US / (HOUR_US + recency_us)
            + Decimal(weights.access) / (1 + access)
            - Decimal(weights.importance) * Decimal(inputs.importance)
        )


def _within_floats(exact: Decimal) -> float:
    return _cut(float(exact))


def _cut(number: float) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, number))


def _require_finite(what: str, number: float) -> None:
    try:
        finite = type(number) in (int, float) and math.isfinite(number)
    except OverflowError:
        finite = False
    if not finite:
        raise UsageError(f"{what} is {str(number)[:40]}, not a finite number", hint="write a finite number, like 1.0")


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (Policy("roadmap", Weights()), Policy("retain", Weights(recency=-1.0, access=-0.5)))
}
