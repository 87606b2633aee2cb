"""One self-contained schema of several files."""

from __future__ import annotations

import time
from typing import Any

import jsonschema_rs
import pytest

from soma_cli.core.compatibility import refused_schema
from soma_cli.core.errors import InputRejected, NotFound
from soma_cli.core.operations.schema_bundle import bundle


def bundled(root: str = "a.json", **files: Any) -> Any:
    """The bundle of files given by name, `b` for `b.json`, `sub__b` for `sub/b.json`."""
    documents = {f"{name.replace('__', '/')}.json": document for name, document in files.items()}

    def read(path: str) -> Any:
        if path not in documents:
            raise NotFound(f"there is no file {path}")
        return documents[path]

    return bundle(root, read).document


def accepts(schema: Any, document: Any) -> bool:
    refused_schema(schema)
    return bool(jsonschema_rs.Draft7Validator(schema, offline=True).is_valid(document))


def test_a_schema_that_stands_alone_comes_back_as_it_is() -> None:
    alone = {"$id": "http://example.org/a", "properties": {"x": {"$ref": "#/definitions/y"}}, "definitions": {"y": {}}}
    assert bundled(a=alone) is alone
    assert bundled(a=True) is True


def test_files_go_below_definitions_and_references_lead_there() -> None:
    made = bundled(a={"properties": {"x": {"$ref": "b.json"}}}, b={"type": "string"})
    assert made == {"properties": {"x": {"$ref": "#/definitions/b"}}, "definitions": {"b": {"type": "string"}}}


def test_references_within_another_file_stay_within_it() -> None:
    b = {"type": "array", "items": {"$ref": "#/definitions/c"}, "definitions": {"c": {"type": "integer"}}}
    made = bundled(a={"properties": {"x": {"$ref": "b.json"}}, "definitions": {"c": {"type": "string"}}}, b=b)
    assert accepts(made, {"x": [1]})
    assert not accepts(made, {"x": ["1"]})
    assert b["items"] == {"$ref": "#/definitions/c"}, "the file's own JSON is left as it is"


def test_a_pointer_leads_into_another_file() -> None:
    made = bundled(
        a={"$ref": "b.json#/definitions/with~1slash%20and%25"},
        b={"definitions": {"with/slash and%": {"type": "string"}}},
    )
    assert accepts(made, "text")
    assert not accepts(made, 1)


def test_paths_are_relative_to_the_file_that_has_them() -> None:
    made = bundled(
        a={"properties": {"x": {"$ref": "sub/b.json"}}},
        sub__b={"properties": {"y": {"$ref": "c.json"}, "z": {"$ref": "../c.json"}}},
        sub__c={"type": "integer"},
        c={"type": "string"},
    )
    assert accepts(made, {"x": {"y": 1, "z": "1"}})
    assert not accepts(made, {"x": {"y": "1"}})
    assert not accepts(made, {"x": {"z": 1}})
    assert sorted(made["definitions"]) == ["b", "c", "c-2"]


def test_names_do_not_collide_with_definitions_that_are_there() -> None:
    made = bundled(
        a={"properties": {"x": {"$ref": "b.json"}}, "definitions": {"b": {"type": "null"}}}, b={"type": "string"}
    )
    assert made["definitions"] == {"b": {"type": "null"}, "b-2": {"type": "string"}}
    assert made["properties"]["x"] == {"$ref": "#/definitions/b-2"}


def test_files_may_refer_to_each_other_in_circles() -> None:
    made = bundled(
        a={"type": "object", "properties": {"child": {"$ref": "b.json"}}, "additionalProperties": False},
        b={"anyOf": [{"type": "null"}, {"$ref": "a.json"}]},
    )
    assert accepts(made, {"child": {"child": {"child": None}}})
    assert not accepts(made, {"child": {"child": {"child": 1}}})


def test_a_reference_back_to_the_first_file_leads_to_the_whole() -> None:
    made = bundled(a={"properties": {"x": {"$ref": "b.json"}}, "required": ["x"]}, b={"items": {"$ref": "a.json#"}})
    assert made["definitions"]["b"]["items"] == {"$ref": "#"}


def test_a_file_may_name_itself() -> None:
    named = {"items": {"$ref": "a.json#/definitions/x"}, "not": {"$ref": "../here/a.json"}}
    made = bundled(root="here/a.json", here__a={**named, "definitions": {"x": {"type": "integer"}}})
    assert made["items"] == {"$ref": "#/definitions/x"}
    assert made["not"] == {"$ref": "#"}
    assert bundled(a={"items": {"$ref": "a.json"}}) == {"items": {"$ref": "#"}}


def test_data_is_not_taken_for_references() -> None:
    data = {"$ref": "nowhere.json"}
    alone = {
        "enum": [data],
        "const": data,
        "default": data,
        "examples": [data],
        "properties": {"$ref": {"type": "string"}},
    }
    assert bundled(a=alone) is alone


def test_references_lead_somewhere_also_where_they_say_nothing() -> None:
    """Beside another reference, and in a part of a file that nobody refers to: the validator follows those, too."""
    beside = {"$ref": "#/definitions/x", "not": {"$ref": "b.json"}, "definitions": {"x": {"type": "null"}}}
    unused = {"definitions": {"used": {"type": "null"}, "unused": {"$ref": "c.json"}}}
    assert accepts(bundled(a=beside, b={"type": "null"}), None)
    assert accepts(bundled(a={"$ref": "b.json#/definitions/used"}, b=unused, c={}), None)
    for files in ({"a": beside}, {"a": {"$ref": "b.json#/definitions/used"}, "b": unused}):
        with pytest.raises(InputRejected):
            bundled(**files)


def test_parts_that_only_a_pointer_reaches_are_followed() -> None:
    made = bundled(
        a={"properties": {"x": {"$ref": "#/shared/y"}}, "shared": {"y": {"$ref": "b.json"}}}, b={"type": "null"}
    )
    assert accepts(made, {"x": None})
    assert not accepts(made, {"x": 1})


def test_names_that_schemas_give_their_parts_are_found() -> None:
    made = bundled(a={"$ref": "b.json#part"}, b={"definitions": {"p": {"$id": "#part", "type": "integer"}}})
    assert accepts(made, 1)
    assert not accepts(made, "1")


def test_an_address_that_is_the_id_of_a_file_at_hand_is_not_fetched() -> None:
    a = {"$id": "http://example.org/a.json", "definitions": {"x": {"type": "integer"}}}
    a["properties"] = {"x": {"$ref": "http://example.org/a.json#/definitions/x"}, "y": {"$ref": "b.json"}}
    made = bundled(
        a=a,
        b={"type": "string", "$id": "http://example.org/b.json", "$schema": "http://json-schema.org/draft-07/schema#"},
    )
    assert accepts(made, {"x": 1, "y": "1"})
    assert not accepts(made, {"x": "1"})
    assert made["definitions"]["b"] == {"type": "string"}


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"a": {"$ref": "b.json"}}, "ref_nowhere", "a.json refers to 'b.json': there is no file b.json"),
        ({"a": {"not": {"$ref": "b.json#/x"}}, "b": {}}, "ref_nowhere", "a.json#/not refers to 'b.json#/x'"),
        ({"a": {"$ref": "#/definitions/x"}}, "ref_nowhere", "has nothing there"),
        ({"a": {"$ref": "#/allOf/x"}, "b": {}}, "ref_nowhere", "has nothing there"),
        ({"a": {"$ref": "#name"}}, "ref_nowhere", "has nothing there"),
        ({"a": {"$ref": "/etc/passwd"}}, "ref_nowhere", "only files beside the schema"),
        ({"a": {"$ref": "file:///etc/passwd"}}, "ref_nowhere", "only files beside the schema"),
        ({"a": {"$ref": "//example.org/a"}}, "ref_nowhere", "only files beside the schema"),
        ({"a": {"$ref": "a.json"}}, "ref_circle", "a.json -> a.json"),
        ({"a": {"$ref": "b.json"}, "b": {"$ref": "a.json"}}, "ref_circle", "a.json -> b.json -> a.json"),
        (
            {
                "a": {
                    "properties": {"x": {"$ref": "#/definitions/y"}},
                    "definitions": {"y": {"$ref": "#/definitions/y"}},
                }
            },
            "ref_circle",
            "a.json#/definitions/y -> a.json#/definitions/y",
        ),
        ({"a": {"items": {"$ref": "b.json"}, "definitions": []}, "b": {}}, "not_a_schema", "definitions of a.json"),
        ({"a": {"items": {"$ref": "b.json"}}, "b": {"not": {"$id": "c.json"}}}, "inner_id", "b.json#/not"),
    ],
)
def test_what_cannot_be_put_together(files: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(InputRejected) as raised:
        bundled(**files)
    assert raised.value.code == code
    assert words in raised.value.message
    assert raised.value.hint


# --- large ones ---


def took_s(call: Any) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def test_a_long_chain_of_references_takes_no_time() -> None:
    chain = {f"d{n}": {"$ref": f"#/definitions/d{n + 1}"} for n in range(5000)}
    schema = {"allOf": [{"$ref": "#/definitions/d0"}], "definitions": {**chain, "d5000": {"type": "string"}}}
    assert took_s(lambda: bundled(a=schema)) < 2


def test_many_names_take_no_time() -> None:
    named = {f"d{n}": {"$id": f"#d{n}", "type": "string"} for n in range(2000)}
    schema = {"allOf": [{"$ref": f"#d{n}"} for n in range(2000)], "definitions": named}
    assert took_s(lambda: bundled(a=schema)) < 2


def test_a_long_circle_is_shown_in_short() -> None:
    circle = {f"d{n}": {"$ref": f"#/definitions/d{(n + 1) % 3000}"} for n in range(3000)}
    with pytest.raises(InputRejected, match="circle") as refused:
        bundled(a={"definitions": circle})
    assert len(refused.value.message) < 500


def test_what_has_no_end_is_refused() -> None:
    """Each address leads to the next one."""
    with pytest.raises(InputRejected, match="more than 1,000 files"):
        bundle("0.json", lambda path: {"$ref": f"{int(path.removesuffix('.json')) + 1}.json"})


def test_too_many_parts_in_great_depth_are_refused() -> None:
    schema: Any = {"properties": {f"p{n}": {} for n in range(20_000)}}
    for _ in range(99):
        schema = {"not": schema}
    with pytest.raises(InputRejected, match="too many parts"):
        bundled(a={"allOf": [schema], "$ref": "#name"})


def test_the_checker_knows_the_same_keywords() -> None:
    """Which hold schemas; `$defs` is none of draft-07's, and only references lead there."""
    from soma_cli.core.compatibility import documents, weakening
    from soma_cli.core.operations import schema_places

    assert {*documents._SINGLE} == {*schema_places.ONE}
    assert {*documents._NAMED, "$defs"} == {*schema_places.MAPS}
    assert weakening._NAMED | {"$defs"} == {*schema_places.MAPS}
