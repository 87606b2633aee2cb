"""What cannot be compared is refused with exit code 5, and says where."""

from __future__ import annotations

from typing import Any

import pytest

from soma_cli.core.compatibility import check, refused_schema
from soma_cli.core.errors import InputRejected

DRAFT_07 = "http://json-schema.org/draft-07/schema#"


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        (3, ""),
        ([], ""),
        ({"type": "text"}, "/type"),
        ({"minimum": "0"}, "/minimum"),
        ({"properties": {"a/b": {"minLength": -1}}}, "/properties/a~1b/minLength"),
        ({"pattern": "("}, "/pattern"),
        ({"required": "a"}, "/required"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "/$schema"),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema"}, "/$schema"),
        ({"$schema": 7}, "/$schema"),
    ],
)
def test_no_schema_of_draft_07(schema: Any, pointer: str) -> None:
    with pytest.raises(InputRejected) as refused:
        refused_schema(schema)
    assert refused.value.exit_code == 5
    assert refused.value.pointer == pointer
    assert refused.value.hint


@pytest.mark.parametrize(
    "ref", ["#/definitions/b", "#b", "other.json", "http://127.0.0.1:1/schema.json", "file:///etc/passwd"]
)
def test_a_reference_that_leads_nowhere_or_out_of_the_document(ref: str) -> None:
    with pytest.raises(InputRejected):
        refused_schema({"properties": {"a": {"$ref": ref}}, "definitions": {"a": {}}})


@pytest.mark.parametrize("schema", [True, False, {}, {"$schema": DRAFT_07}, {"$schema": DRAFT_07.rstrip("#")}])
def test_a_schema_is_not_refused(schema: Any) -> None:
    refused_schema(schema)


def test_a_schema_that_the_validator_cannot_nest_is_refused() -> None:
    with pytest.raises(InputRejected):
        refused_schema(nested(2_000))


@pytest.mark.parametrize("pair", [({}, {"type": 1}), ({"type": 1}, {})])
def test_a_comparison_refuses_the_same(pair: tuple[Any, Any]) -> None:
    with pytest.raises(InputRejected):
        check(*pair)
