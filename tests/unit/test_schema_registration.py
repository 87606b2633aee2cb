"""Registering beside another client: what comes meanwhile is judged against, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.schema_registry.files import FilesRegistry
from soma_cli.core.operations.schema_load import LoadedSchema, parse_schema
from soma_cli.core.operations.schema_register import Rules, register
from soma_cli.core.ports import RegisteredSchema
from soma_cli.core.schema_results import SchemaRegistration
from soma_cli.core.schemas import SchemaFolder


class Beaten(FilesRegistry):
    """Where another client is faster: `first` is done before the next version is added."""

    first: Callable[[], object] | None = None

    def register(self, subject: str, text: str, after: int | None = None) -> RegisteredSchema:
        if self.first is not None:
            before, self.first = self.first, None
            before()
        return super().register(subject, text, after)


@pytest.fixture
def registry(tmp_path: Path) -> Beaten:
    registry = Beaten(SchemaFolder(tmp_path, "asked"))
    registry.register("one", json.dumps({"type": "string"}))
    return registry


def schema(*types: str) -> LoadedSchema:
    return parse_schema("one", json.dumps({"type": types}), "one.json")


def registered(registry: Beaten, *types: str) -> SchemaRegistration:
    (found,) = register(registry, [schema(*types)], str, Rules()).schemas
    return found


def types(registry: Beaten) -> list[Any]:
    return [json.loads(version.text)["type"] for version in registry.versions("one")]


def test_what_breaks_a_version_that_came_meanwhile_is_refused(registry: Beaten) -> None:
    registry.first = lambda: registered(registry, "string", "null")
    found = registered(registry, "string", "integer")
    assert (found.refused, found.version, found.check.against) == (True, None, ["version 2"])
    assert types(registry) == ["string", ["string", "null"]]


def test_what_agrees_with_a_version_that_came_meanwhile_is_added(registry: Beaten) -> None:
    registry.first = lambda: registered(registry, "string", "null")
    found = registered(registry, "string", "null", "integer")
    assert (found.refused, found.version, found.check.against) == (False, 3, ["version 2"])


def test_what_somebody_else_registered_meanwhile_is_there(registry: Beaten) -> None:
    registry.first = lambda: registered(registry, "string", "null")
    assert registered(registry, "string", "null").version == 2
    assert types(registry) == ["string", ["string", "null"]]
