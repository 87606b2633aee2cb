"""The same key is the same event: store, update and delete, called again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.errors import IdempotencyConflict, NotFound
from soma_cli.core.system import MemorySystem, create_memory_system


@pytest.fixture
def system(tmp_path: Path) -> Iterator[MemorySystem]:
    with create_memory_system(data_dir=tmp_path) as made:
        yield made


def events(system: MemorySystem) -> int:
    return sum(1 for _ in system.admin.replay())


def test_a_repeated_store_adds_nothing_and_says_so(system: MemorySystem) -> None:
    first = system.store(text="once", idempotency_key="k", importance=2.0)
    again = system.store(text="once", idempotency_key="k", importance=2.0)
    assert (again.id, again.event_id, again.position) == (first.id, first.event_id, first.position)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert events(system) == 1
    assert system.store(text="once", idempotency_key="k", namespace="other").id != first.id


@pytest.mark.parametrize("other", [{"text": "twice"}, {"importance": 3.0}, {"timestamp": "2020-01-01"}])
def test_the_same_key_with_other_content_is_a_conflict(system: MemorySystem, other: dict[str, object]) -> None:
    system.store(text="once", idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        system.store(**{"text": "once", **other}, idempotency_key="k")  # type: ignore[arg-type]
    assert events(system) == 1


def test_a_repeated_update_is_the_same_event_also_with_if_version_and_after_other_changes(system: MemorySystem) -> None:
    id = system.store(text="one", importance=2.0).id
    first = system.update(id, text="two", if_version=0, idempotency_key="u")
    system.update(id, text="three", importance=9.0)
    again = system.update(id, text="two", if_version=0, idempotency_key="u")
    assert (again.position, again.duplicate) == (first.position, True)
    assert system.fetch(id).payload == {"text": "three"}
    with pytest.raises(IdempotencyConflict):
        system.update(id, text="two", if_version=0, importance=5.0, idempotency_key="u")


def test_a_repeated_delete_is_the_same_event(system: MemorySystem) -> None:
    id = system.store(text="one", namespace="n").id
    first = system.delete(id, idempotency_key="d", reason="asked")
    again = system.delete(id, idempotency_key="d", reason="asked")
    assert (again.position, again.duplicate) == (first.position, True)
    with pytest.raises(NotFound):
        system.delete(id)
    assert events(system) == 2


def test_an_atomic_bulk_finds_conflicts_before_it_appends(system: MemorySystem) -> None:
    system.produce([b'{"payload": {"name": "a", "v": 1}}'], key="/payload/name")
    lines = [b'{"payload": {"name": "b"}}', b'{"payload": {"name": "a", "v": 2}}']
    rehearsed = system.produce(lines, key="/payload/name", rehearse=True)
    assert (rehearsed.accepted, rehearsed.appended, rehearsed.rejected) == (1, 0, 1)
    assert rehearsed.rejects[0].code == "idempotency_conflict"
    assert events(system) == 1
