"""A bundle accepts what the files accept, to a validator that resolves their references by itself."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import jsonschema_rs
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from soma_cli.core.errors import InputRejected
from soma_cli.core.operations.schema_bundle import bundle

FILES = ["f.json", "g.json", "h.json"]
DOCUMENTS: list[Any] = [
    *(None, 1, "a", {}, {"a": 1}, {"a": "a", "b": None}, {"b": {"a": 1}}, [1]),
    *(["a", {"a": None}], {"a": {"a": {"a": 1, "b": "x"}}}),
]
ROUNDS = 400


def schema(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if kind < 0.25 and depth:
        file = chance.choice(FILES)
        return {"$ref": chance.choice([file, f"{file}#", f"{file}#/definitions/x", "#/definitions/x"])}
    if kind < 0.5 or depth > 3:
        return {"type": chance.choice(["string", "integer", "null", "object"])}
    if kind < 0.6:
        return {"enum": [1, "a", None]}
    if kind < 0.8:
        return {"type": "object", "properties": {name: schema(chance, depth + 1) for name in "ab"}}
    if kind < 0.9:
        return {"anyOf": [schema(chance, depth + 1) for _ in range(2)]}
    return {"items": schema(chance, depth + 1)}


def agree(files: dict[str, Any], bundled: Any) -> int:
    """How many documents both were asked about; all but those that make the other one go round in circles."""
    resources = [(f"http://x/{name}", Resource(contents=file, specification=DRAFT7)) for name, file in files.items()]
    apart = jsonschema.Draft7Validator({"$ref": "http://x/f.json"}, registry=Registry().with_resources(resources))
    together = jsonschema_rs.Draft7Validator(bundled, offline=True)
    for asked, document in enumerate(DOCUMENTS):
        try:
            expected = apart.is_valid(document)
        except RecursionError:
            return asked
        assert together.is_valid(document) is expected, (files, document)
    return len(DOCUMENTS)


def test_bundles_and_files_agree() -> None:
    asked = several = 0
    for seed in range(ROUNDS):
        chance = random.Random(seed)
        files = {name: {**schema(chance), "definitions": {"x": schema(chance, 1)}} for name in FILES}
        try:
            bundled = bundle("f.json", files.__getitem__).document
        except InputRejected:  # a circle of references without a schema
            continue
        asked += agree(files, bundled)
        several += bundled is not files["f.json"]
    assert asked > 5 * ROUNDS
    assert several > ROUNDS / 4
