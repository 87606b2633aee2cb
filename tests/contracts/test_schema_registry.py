"""What every schema registry promises: the HTTP one on a real Apicurio, and the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.adapters.schema_registry.files import FilesRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.ports import RegisteredSchema, SchemaRegistry, VersionsChanged
from soma_cli.core.schemas import SchemaFolder
from soma_cli.core.settings import RegistrySettings
from tests.services import registry_url

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
REGISTRIES: dict[str, Callable[[Path], SchemaRegistry]] = {
    "confluent_http": lambda _: ConfluentRegistry(
        RegistrySettings(kind="confluent_http", url=registry_url(), timeout_s=60.0)
    ),
    "files": lambda folder: FilesRegistry(SchemaFolder(folder, "asked")),
}


def text_of(indent: int | None = None, **keywords: object) -> str:
    return json.dumps({"$schema": DRAFT_7, "type": "object", **keywords}, indent=indent)


OLD = text_of(properties={"a": {"type": "integer"}})
NEW = text_of(properties={"a": {"type": "integer"}, "b": {"type": "string"}})
OTHER = text_of(properties={"a": {"type": "string"}})


@pytest.fixture(params=sorted(REGISTRIES))
def open_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], SchemaRegistry]]:
    """Open the same registry again, as another client would."""
    opened: list[SchemaRegistry] = []

    def open_again() -> SchemaRegistry:
        opened.append(REGISTRIES[request.param](tmp_path))
        return opened[-1]

    yield open_again
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(open_registry: Callable[[], SchemaRegistry]) -> SchemaRegistry:
    return open_registry()


@pytest.fixture
def subject() -> str:
    """No other test's."""
    return f"drill.{uuid4()}-value"


def numbers(versions: list[RegisteredSchema]) -> list[int]:
    return [one.version for one in versions]


def test_an_unknown_subject_has_no_versions(registry: SchemaRegistry, subject: str) -> None:
    assert registry.versions(subject) == []
    assert registry.latest(subject) is None
    assert subject not in registry.subjects()


def test_versions_never_change(open_registry: Callable[[], SchemaRegistry], subject: str) -> None:
    registry = open_registry()
    first, second = registry.register(subject, OLD), registry.register(subject, NEW)
    assert (first.version, second.version) == (1, 2)
    assert [one.text for one in open_registry().versions(subject)] == [OLD, NEW]
    assert open_registry().versions(subject) == [first, second]
    assert open_registry().latest(subject) == second


def test_the_same_schema_is_one_version(open_registry: Callable[[], SchemaRegistry], subject: str) -> None:
    first = open_registry().register(subject, OLD)
    open_registry().register(subject, NEW)
    reordered = json.dumps(dict(reversed(json.loads(OLD).items())), indent=3)
    assert open_registry().register(subject, reordered) == first
    assert open_registry().register(subject, OLD) == first
    assert numbers(open_registry().versions(subject)) == [1, 2]


def test_a_version_is_added_after_the_one_that_it_was_judged_against(registry: SchemaRegistry, subject: str) -> None:
    assert registry.register(subject, OLD, 0).version == 1
    with pytest.raises(VersionsChanged):
        registry.register(subject, NEW, 0)
    assert registry.register(subject, OLD, 7).version == 1  # what is there is not added, and breaks nothing
    assert registry.register(subject, NEW, 1).version == 2
    assert numbers(registry.versions(subject)) == [1, 2]


def test_subjects_are_sorted_by_name(registry: SchemaRegistry) -> None:
    mark = uuid4().hex
    for name in ("b", "a", "c"):
        registry.register(f"{name}.{mark}", OLD)
    assert [name for name in registry.subjects() if mark in name] == [f"{name}.{mark}" for name in "abc"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_belongs_to_one_subject(open_registry: Callable[[], SchemaRegistry], subject: str, mode: Mode) -> None:
    registry = open_registry()
    other = registry.mode(f"{subject}.other")
    registry.set_mode(subject, mode)
    assert open_registry().mode(subject) == mode
    registry.register(subject, OLD)
    assert open_registry().mode(subject) == mode
    assert open_registry().mode(f"{subject}.other") == other


def test_an_opinion_is_the_registrys_own(registry: SchemaRegistry, subject: str) -> None:
    registry.set_mode(subject, Mode.BACKWARD)
    registry.register(subject, OLD)
    opinion = registry.opinion(subject, OTHER)
    assert opinion is None or not opinion.compatible
    agreeing = registry.opinion(subject, OLD)
    assert agreeing is None or agreeing.compatible


def test_names_of_any_letters_are_kept_apart_on_a_server(subject: str) -> None:
    registry = REGISTRIES["confluent_http"](Path())
    for name in (f"{subject} a", f"{subject}?b=c", f"{subject}é", f"{subject}%2F"):
        registry.register(name, OLD)
        assert name in registry.subjects()
        assert numbers(registry.versions(name)) == [1]
    registry.close()


def test_it_says_where_it_is(registry: SchemaRegistry) -> None:
    assert registry.where()


def test_two_clients_at_once_make_one_version_of_the_same_schema(
    open_registry: Callable[[], SchemaRegistry], subject: str
) -> None:
    texts = [OLD, OLD, OLD, NEW]
    with ThreadPoolExecutor(len(texts)) as pool:
        made = list(pool.map(lambda text: open_registry().register(subject, text), texts))
    assert len({one.version for one in made[:3]}) == 1
    assert sorted(one.text for one in open_registry().versions(subject)) == sorted({OLD, NEW})
