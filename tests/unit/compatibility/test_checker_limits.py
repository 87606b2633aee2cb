"""No input makes the checker hang or fall: what costs too much is undecided, and says why."""

from __future__ import annotations

import copy
import gc
import json
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from soma_cli.core.compatibility import Budget, check

EVENT = json.loads((Path(__file__).parents[3] / "schemas" / "memory.event.json").read_text(encoding="utf-8"))
DEFINITIONS = 200


def large(seed: int, *, chained: bool = False) -> dict[str, Any]:
    """200 definitions, over 2,000 lines, that refer to each other at random, or in one long chain."""
    random = Random(seed)
    definitions: dict[str, Any] = {}
    for number in range(DEFINITIONS):
        other = {"$ref": f"#/definitions/d{number + 1 if chained else random.randrange(DEFINITIONS)}"}
        kinds = [{"type": "string", "maxLength": 9}, {"enum": ["a", "b"]}, {"type": "integer"}]
        properties = {f"f{place}": copy.deepcopy(random.choice(kinds)) for place in range(4)}
        properties["next"] = random.choice(
            [other, {"type": "array", "items": other}, {"anyOf": [{"type": "null"}, other]}]
        )
        definitions[f"d{number}"] = {"type": "object", "properties": properties, "required": ["f0"]}
    definitions[f"d{DEFINITIONS}"] = {}
    refs = {f"p{number}": {"$ref": f"#/definitions/d{number}"} for number in range(1 if chained else DEFINITIONS)}
    return {"properties": refs, "definitions": definitions}


def widened(schema: dict[str, Any]) -> dict[str, Any]:
    """Integers become numbers everywhere."""
    return json.loads(json.dumps(schema).replace('"integer"', '"number"'))  # type: ignore[no-any-return]


def timed(writer: Any, reader: Any, rounds: int = 1) -> tuple[bool | None, float]:
    """The verdict, and the processor time in seconds: the best one, without the collector of a long test run."""
    times: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            start = time.thread_time()
            verdict = check(writer, reader)
            times.append(time.thread_time() - start)
    finally:
        gc.enable()
    return verdict.compatible, min(times)


def test_two_versions_of_the_event_take_a_few_milliseconds() -> None:
    new = copy.deepcopy(EVENT)
    new["properties"]["actor"] = {"type": ["string", "null"]}
    check(new, EVENT)
    assert timed(new, EVENT, 5)[1] < 0.03
    assert timed(EVENT, new, 5)[1] < 0.06


@pytest.mark.parametrize("chained", [False, True], ids=["a net", "a chain"])
def test_two_hundred_definitions_take_less_than_a_second(chained: bool) -> None:
    schema = large(1, chained=chained)
    assert len(json.dumps(schema, indent=1).splitlines()) > 2_000
    compatible, seconds_s = timed(schema, widened(schema), 3)
    assert compatible
    assert seconds_s < 1
    one = copy.deepcopy(schema)
    one["definitions"]["d150"]["properties"]["f1"] = {"type": "null"}
    compatible, seconds_s = timed(one, schema, 3)
    assert compatible is False
    assert seconds_s < 1


@pytest.mark.parametrize(
    ("writer", "reader", "pointer"),
    [
        ({"type": "string"}, {"maxLength": 2**31}, "/maxLength"),
        ({"minItems": 10**9, "type": "array"}, {"type": "object"}, "/minItems"),
        ({"minProperties": 10**6, "type": "object"}, False, "/minProperties"),
        ({"pattern": "^(a|b)*a(a|b){14}$"}, {"pattern": "^(a|b)*b(a|b){14}$"}, "/pattern"),
        ({"type": "array", "uniqueItems": True, "minItems": 1_000}, {"contains": {"const": 1}}, "/minItems"),
        ({"properties": {"a": {"pattern": r"\bx"}}}, {"properties": {"a": {"pattern": "x"}}}, None),
        (
            {"properties": {"a": {"pattern": "^xx"}}},
            {"properties": {"a": {"pattern": r"^(x)\1"}}},
            "/properties/a/pattern",
        ),
    ],
)
def test_what_cannot_be_settled_is_undecided_and_shown(writer: Any, reader: Any, pointer: str | None) -> None:
    verdict = check(writer, reader)
    assert verdict.compatible is (True if pointer is None else None)
    assert [stop.pointer for stop in verdict.undecided] == [pointer] * (pointer is not None)


@pytest.mark.parametrize("kinds", [("integer", "number"), ("number", "integer")])
def test_a_chain_that_is_too_deep_to_follow_is_undecided(kinds: tuple[str, str]) -> None:
    def schema(kind: str) -> dict[str, Any]:
        definitions: dict[str, Any] = {"d3000": {"type": kind}}
        for number in range(3_000):
            definitions[f"d{number}"] = {"properties": {"next": {"$ref": f"#/definitions/d{number + 1}"}}}
        return {"$ref": "#/definitions/d0", "definitions": definitions}

    assert check(schema(kinds[0]), schema(kinds[1])).compatible is None


def doubling(times: int) -> dict[str, Any]:
    """The smallest value has 2 ** times leaves."""
    definitions: dict[str, Any] = {f"d{times}": {"type": "string"}}
    for number in range(times):
        both = {name: {"$ref": f"#/definitions/d{number + 1}"} for name in ("l", "r")}
        definitions[f"d{number}"] = {"type": "object", "properties": both, "required": ["l", "r"]}
    return {"$ref": "#/definitions/d0", "definitions": definitions}


def test_a_value_that_doubles_at_each_level_is_bounded() -> None:
    assert check(doubling(40), {"type": "string"}).compatible is None
    assert check(doubling(40), {"type": "object"}).compatible
    assert check(doubling(8), {"type": "string"}).compatible is False
    several = {"type": "array", "items": doubling(40), "minItems": 2, "uniqueItems": True, **doubling(40)}
    assert check({**several, "$ref": "#/definitions/d0"}, {"type": "string"}).compatible is None


def test_a_value_that_the_validator_would_not_get_through_is_not_shown_to_it() -> None:
    """Each level asks twice about the next."""
    definitions: dict[str, Any] = {"d60": {"type": "number"}}
    for number in range(60):
        inner = {"$ref": f"#/definitions/d{number + 1}"}
        either = {"oneOf": [inner, {"type": "boolean"}]}
        definitions[f"d{number}"] = {"type": "array", "minItems": 1, "items": either, "contains": inner}
    writer = {"$ref": "#/definitions/d0", "definitions": definitions}
    reader = {"$ref": "#/definitions/d0", "definitions": {**definitions, "d60": {"type": "integer"}}}
    assert check(reader, writer).compatible
    assert check(writer, reader).compatible is None


def names_with(letters: str) -> dict[str, Any]:
    """Patterns that overlap in every way."""
    lengths = {
        f"^[a-z]*{letter}[a-z]*$": {"type": "string", "minLength": place} for place, letter in enumerate(letters)
    }
    return {"patternProperties": lengths}


def test_names_that_may_match_many_patterns() -> None:
    few, more = names_with("abcdefghijklmnopqrst"), names_with("abcdefghijklmnopqrstu")
    assert check(more, few).compatible
    assert {violation.keyword for violation in check(few, more).violations} == {"type", "minLength"}


@pytest.mark.parametrize("pattern", ["^((a{1,50}){1,50}){1,50}$", "^(.*a.*b){9}(.*c.*d){9}$", "(a?){500}(a|b){500}$"])
def test_large_patterns_end(pattern: str) -> None:
    verdict = check({"type": "string", "pattern": pattern}, {"pattern": "^a{1,9000}$"}, Budget(steps=20_000))
    assert verdict.compatible is not True


def test_the_recursion_limit_is_what_it_was() -> None:
    before = sys.getrecursionlimit()
    check(EVENT, {})
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize("budget", [Budget(steps=0), Budget(seconds=0.0)])
def test_a_spent_budget_is_undecided(budget: Budget) -> None:
    schema = large(2)
    verdict = check(schema, widened(schema), budget)
    assert verdict.compatible is None
    assert "budget" in verdict.undecided[0].message


def test_what_was_found_before_the_budget_was_spent_is_kept() -> None:
    """The string is a break at once; the alternatives of 40 open objects are not settled in 2,000 steps."""
    hard = {"oneOf": [{"properties": {f"p{n}": {"type": "integer"}}} for n in range(40)]}
    looser = {"oneOf": [{"properties": {f"p{n}": {"type": "number"}}} for n in range(40)]}
    writer = {"properties": {"a": hard}}
    reader = {"properties": {"a": looser, "b": {"type": "string"}}}
    verdict = check(writer, reader, Budget(steps=2_000))
    assert verdict.compatible is False
    assert "/properties/b/type" in {violation.pointer for violation in verdict.violations}


def test_a_verdict_is_the_same_each_time() -> None:
    schema = large(3)
    assert check(widened(schema), schema) == check(widened(schema), schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#/allOf/0"}]}, {"anyOf": [{"not": {"$ref": "#"}}]}]
)
def test_a_schema_that_only_leads_back_to_itself_means_nothing(schema: Any) -> None:
    assert check(schema, {"type": "string"}).compatible is None
    assert check({"type": "string"}, schema).compatible is None
