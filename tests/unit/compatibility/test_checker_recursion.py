"""Recursion: goals that come up inside themselves, and what was assumed of them meanwhile."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from soma_cli.core.compatibility import check

Way = tuple[int, ...] | str
"""One way to meet a definition: a type that has one value, or an array whose items meet these definitions."""


def ref(name: object) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def array_of(*items: Any) -> dict[str, Any]:
    return {"type": "array", "items": list(items), "minItems": len(items), "maxItems": len(items)}


def needed(definitions: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(members), "properties": members, "definitions": definitions}


# "array or object" looks for an array first, which needs "pair", which needs "either": none there, so far.
_EITHER = {"either": {"anyOf": [array_of(ref("pair")), {"type": "object"}]}, "pair": array_of(ref("either"))}


def test_what_was_refuted_inside_a_goal_is_looked_for_again_outside() -> None:
    writer = needed(_EITHER, x=ref("either"), y=ref("pair"))
    assert check(writer, False).violations[0].witness == {"x": {}, "y": [{}]}


def test_a_group_that_was_refuted_inside_a_goal_is_solved_again_outside() -> None:
    writer = needed(_EITHER, x=ref("either"), y={"allOf": [ref("either"), {"type": "array"}]})
    assert check(writer, False).violations[0].witness == {"x": {}, "y": [[{}]]}


@pytest.mark.parametrize("seed", range(6))
def test_systems_of_definitions_have_values_where_a_fixpoint_says_so(seed: int) -> None:
    random, empty = Random(seed), 0
    for _ in range(60):
        system = [random_ways(random) for _ in range(5)]
        wanted = [frozenset(random.choices(range(5), k=random.randrange(1, 4))) for _ in range(3)]
        definitions = {str(number): {"anyOf": [written(way) for way in ways]} for number, ways in enumerate(system)}
        members = {f"p{place}": {"allOf": [ref(number) for number in sorted(one)]} for place, one in enumerate(wanted)}
        has_value = all(one in inhabited(system) for one in wanted)
        assert check(needed(definitions, **members), False).compatible is not has_value, (definitions, members)
        empty += not has_value
    assert 10 < empty < 50


def random_ways(random: Random) -> list[Way]:
    arrays = [tuple(random.choices(range(5), k=random.randrange(1, 3))) for _ in range(random.randrange(1, 4))]
    return [*arrays, *random.sample(["null", "object"], random.choice([0, 0, 0, 1]))]


def written(way: Way) -> dict[str, Any]:
    return {"type": way, "maxProperties": 0} if isinstance(way, str) else array_of(*map(ref, way))


def inhabited(system: list[list[Way]]) -> set[frozenset[int]]:
    """The sets of definitions that one value meets together: the least fixpoint, from below."""
    sets = [frozenset(one) for size in range(1, 6) for one in itertools.combinations(range(5), size)]
    found: set[frozenset[int]] = set()
    while more := {one for one in sets if one not in found and meets(one, system, found)}:
        found |= more
    return found


def meets(one: frozenset[int], system: list[list[Way]], found: set[frozenset[int]]) -> bool:
    return any(agree(ways, found) for ways in itertools.product(*(system[number] for number in one)))


def agree(ways: tuple[Way, ...], found: set[frozenset[int]]) -> bool:
    if any(isinstance(way, str) for way in ways):
        return len(set(ways)) == 1
    same_length = len({len(way) for way in ways}) == 1
    return same_length and all(frozenset(items) in found for items in zip(*ways, strict=True))


def tree(leaf: Any, **keywords: Any) -> dict[str, Any]:
    node = {
        "type": "object",
        "properties": {"leaf": leaf, "nodes": {"type": "array", "items": ref("node")}},
        **keywords,
    }
    return {**ref("node"), "definitions": {"node": node}}


@pytest.mark.parametrize(
    ("writer", "reader", "witness"),
    [
        (tree({"type": "integer"}), tree({"type": "number"}), None),
        (tree({"type": "number"}), tree({"type": "integer"}), {"leaf": 0.5}),
        (tree({}, required=["leaf"]), tree({}), None),
        (tree({}), tree({}, required=["leaf"]), {}),
        (tree({}, additionalProperties=False), tree({}, propertyNames={"enum": ["leaf", "nodes", "other"]}), None),
        # A node that must have nodes has no end.
        (
            tree({}, required=["nodes"], properties={"nodes": {"items": ref("node"), "minItems": 1, "type": "array"}}),
            False,
            None,
        ),
    ],
)
def test_trees(writer: Any, reader: Any, witness: Any) -> None:
    verdict = check(writer, reader)
    assert verdict.compatible is (witness is None)
    assert [violation.witness for violation in verdict.violations] == ([] if witness is None else [witness])


def test_the_same_recursion_under_other_names_and_unrolled() -> None:
    once = {**ref("a"), "definitions": {"a": {"properties": {"next": ref("a")}, "type": "object"}}}
    link = {"type": "object", "properties": {"next": ref("y")}}
    twice = {**ref("x"), "definitions": {"x": link, "y": {"type": "object", "properties": {"next": ref("x")}}}}
    assert check(once, twice).compatible
    assert check(twice, once).compatible
    shut = {**ref("x"), "definitions": {"x": link, "y": {"type": "object", "properties": {"next": False}}}}
    assert check(shut, once).compatible
    assert check(once, shut).violations[0].witness == {"next": {"next": {}}}


def test_recursion_through_a_negation() -> None:
    """Even and odd depths: a value meets `even` where its inner one does not."""
    even = {"type": "object", "properties": {"in": {"not": ref("even")}}}
    schema = {**ref("even"), "definitions": {"even": even}}
    assert check(schema, schema).compatible
    shallow = {"type": "object", "properties": {"in": {"type": "string"}}}
    assert not check(schema, shallow).compatible
    # Inside "in" there is an object without "in", which is even: so "in" itself is not there.
    flat = {"type": "object", "maxProperties": 0}
    no_even = {"allOf": [ref("even"), {"properties": {"in": flat}}], "definitions": {"even": even}}
    assert check(no_even, {"maxProperties": 0, "type": "object"}).compatible is False
    assert check(no_even, {"not": {"required": ["in"]}}).compatible


def test_a_difference_that_shows_only_one_round_later() -> None:
    def schema(kind: str) -> dict[str, Any]:
        node = {"type": "object", "properties": {"leaf": {"type": kind}, "node": ref("node")}}
        return {"allOf": [ref("node"), {"not": {"required": ["leaf"]}}], "definitions": {"node": node}}

    assert check(schema("integer"), schema("number")).compatible
    assert check(schema("number"), schema("integer")).violations[0].witness == {"node": {"leaf": 0.5}}


def test_what_was_refuted_inside_a_goal_that_stays_open_is_not_refuted() -> None:
    """Whether there is an upper-case letter that is no letter is not known; so it is not of a pair of such either."""
    strange = {"type": "string", "pattern": r"^\p{Lu}+$", "not": {"pattern": r"^\p{L}+$"}}
    definitions = {"either": {"anyOf": [strange, array_of(ref("pair"))]}, "pair": array_of(ref("either"))}
    assert check(needed(definitions, x=ref("either"), y=ref("pair")), False).compatible is None
    assert check(needed(definitions, x=ref("pair"), y=ref("either")), False).compatible is None
