"""The canonical groups against trying out every value of a small range."""

from __future__ import annotations

import itertools
from fractions import Fraction
from random import Random

import pytest

from soma_cli.core.compatibility import check, numbers
from soma_cli.core.compatibility.assertions import Among, Assertion, Bound, MultipleOf
from soma_cli.core.compatibility.equality import key_of
from soma_cli.core.compatibility.outcome import NOTHING, Found
from soma_cli.core.compatibility.reading import number_of

HALVES = [Fraction(number, 2) for number in range(-12, 13)]
DIVISORS = [Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2), Fraction(3)]


def holds(literal: int, assertion: Assertion, value: Fraction) -> bool:
    match assertion:
        case Bound(limit, strict, upper):
            inside = (value <= limit if upper else value >= limit) and not (strict and value == limit)
        case MultipleOf(divisor):
            inside = (value / divisor).denominator == 1
        case Among(_, values):
            inside = value in values
        case _:
            raise AssertionError(assertion)
    return inside == (literal > 0)


def random_group(random: Random) -> list[Assertion]:
    group: list[Assertion] = [Bound(random.choice(HALVES), random.random() < 0.5, upper) for upper in (False, True)]
    group += [MultipleOf(random.choice(DIVISORS)) for _ in range(random.randrange(3))]
    group += [Bound(random.choice(HALVES), random.random() < 0.5, random.random() < 0.5)] * random.randrange(2)
    group += [Among("number", frozenset(random.sample(HALVES, random.randrange(1, 9))))] * random.randrange(2)
    return group


def test_numbers_are_found_where_there_are_any() -> None:
    random, nothing = Random(1), 0
    for _ in range(3_000):
        signed = [1, 1, *(random.choice([1, -1]) for _ in range(6))]
        numbered = zip(itertools.count(2), signed, random_group(random), strict=False)
        literals: dict[int, Assertion] = {number * sign: assertion for number, sign, assertion in numbered}
        literals[99] = MultipleOf(Fraction(1, 2))
        inside = [value for value in HALVES if all(holds(*item, value) for item in literals.items())]
        outcome = numbers.witness(literals)
        if inside:
            assert isinstance(outcome, Found), literals
            assert number_of(outcome.value) in inside, literals
        else:
            assert outcome == NOTHING, literals
        nothing += not inside
    assert 500 < nothing < 2_500


@pytest.mark.parametrize(
    ("low", "high"),
    [(None, None), (0, None), (None, 0), (3, 4), (Fraction(1, 3), Fraction(1, 2)), (10**6, None), (None, -(10**6))],
)
def test_a_number_is_found_in_an_open_interval(low: Fraction | None, high: Fraction | None) -> None:
    literals: dict[int, Assertion] = {-5: MultipleOf(Fraction(1, 4))}
    for number, limit, upper in ((2, low, False), (3, high, True)):
        if limit is not None:
            literals[number] = Bound(Fraction(limit), strict=True, upper=upper)
    literals[-4] = Among("number", frozenset([Fraction(1), Fraction(7, 2)]))
    outcome = numbers.witness(literals)
    assert isinstance(outcome, Found)
    assert all(holds(*item, number_of(outcome.value)) for item in literals.items())


def test_the_simplest_number_is_found() -> None:
    def found(**limits: int) -> object:
        bounds = {"least": (2, False), "most": (3, True)}
        literals: dict[int, Assertion] = {}
        for name, limit in limits.items():
            number, upper = bounds[name]
            literals[number] = Bound(Fraction(limit), strict=False, upper=upper)
        outcome = numbers.witness(literals)
        assert isinstance(outcome, Found)
        return outcome.value

    assert found() == found(least=-3) == found(most=5) == 0
    assert found(least=7) == found(least=7, most=9) == 7
    assert found(most=-7) == -7


def test_what_no_float_is_equal_to_is_not_said_to_be_nothing() -> None:
    third = Fraction(1, 3)
    point: dict[int, Assertion] = {
        2: Bound(third, strict=False, upper=False),
        3: Bound(third, strict=False, upper=True),
    }
    assert not isinstance(numbers.witness(point), Found)
    assert numbers.witness(point) != NOTHING
    assert numbers.witness({2: MultipleOf(third), -3: MultipleOf(Fraction(1)), 4: point[2], 5: point[3]}) != NOTHING


def test_many_multiples_are_not_tried_one_by_one() -> None:
    literals: dict[int, Assertion] = {
        2: MultipleOf(Fraction(1)),
        3: Bound(Fraction(0), strict=True, upper=False),
        4: Bound(Fraction(10**12), strict=True, upper=True),
        -5: Among("number", frozenset(Fraction(number) for number in range(50_000))),
    }
    assert numbers.witness(literals) != NOTHING


def test_equal_values_have_equal_keys() -> None:
    same = [(1, 1.0), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}), (0.0, -0.0), (2**53, 2.0**53)]
    other = [(1, True), (0, False), (None, False), ([1], [True]), ({"a": 1}, {"a": 1, "b": 1}), ("1", 1), ([], {})]
    assert all(key_of(a) == key_of(b) for a, b in same)
    assert not any(key_of(a) == key_of(b) for a, b in other)


@pytest.mark.parametrize(
    ("writer", "reader", "witness"),
    [
        ({"type": "number", "multipleOf": 0.7}, {"maximum": 10**400}, (10**400 // 7 + 1) * 7),
        ({"type": "number", "multipleOf": 0.001}, {"maximum": 10**15}, 10**15 + 1),
        ({"type": "number", "multipleOf": 0.5}, {"multipleOf": 1}, 0.5),
        ({"type": "integer", "not": {"multipleOf": 2}}, {"not": {"multipleOf": 3}}, 3),
    ],
)
def test_numbers_far_out(writer: object, reader: object, witness: object) -> None:
    assert [violation.witness for violation in check(writer, reader).violations] == [witness]


def some_name(pattern: str) -> dict[str, object]:
    return {"not": {"propertyNames": {"not": {"pattern": pattern}}}}


@pytest.mark.parametrize(
    ("patterns", "most", "longest", "empty"),
    [
        ("ab", 1, 9, False),  # "ab" is both
        ("ab", 1, 1, True),
        ("ab", 2, 1, False),
        ("abc", 2, 2, False),
        ("abc", 1, 2, True),
        ("abc", 1, 3, False),
    ],
)
def test_names_that_must_be_there_may_be_one(patterns: str, most: int, longest: int, empty: bool) -> None:
    names = {"propertyNames": {"maxLength": longest}, "maxProperties": most}
    assert check({"allOf": [*map(some_name, patterns), names]}, False).compatible is empty
