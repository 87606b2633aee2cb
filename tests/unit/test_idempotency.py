"""The same key is the same event: store, update and delete, called again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import IdempotencyConflict, NotFound, OutOfSpace, UsageError
from soma_cli.core.event import event_id_for
from soma_cli.core.operations import produce
from soma_cli.core.ports import Appended
from soma_cli.core.record import EVENTS_TOPIC
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


def test_an_update_and_a_delete_stay_the_same_event_in_another_namespace(system: MemorySystem) -> None:
    id = system.store(text="one", namespace="a").id
    first = system.update(id, text="two", idempotency_key="u")
    system.update(id, text="three", namespace="b")
    again = system.update(id, text="two", idempotency_key="u")
    assert (again.position, again.duplicate, again.namespace) == (first.position, True, "a")
    assert system.fetch(id).payload == {"text": "three"}
    gone = system.delete(id, idempotency_key="d")
    system.store(text="back", id=id, namespace="c")
    assert system.delete(id, idempotency_key="d").position == gone.position
    assert system.fetch(id).payload == {"text": "back"}


def test_an_updates_key_belongs_to_the_namespace_that_was_given(system: MemorySystem) -> None:
    id = system.store(text="one", namespace="a").id
    given = system.update(id, text="two", namespace="b", idempotency_key="u")
    assert given.event_id == event_id_for("b", "u")
    assert system.update(id, text="three", idempotency_key="u").event_id == event_id_for("default", "u")
    with pytest.raises(IdempotencyConflict, match="payload"):
        system.update(id, text="four", namespace="b", idempotency_key="u")


def test_a_key_that_stored_a_memory_stores_no_other(system: MemorySystem) -> None:
    other = "01890a5d-ac96-774b-bcce-b302099a8057"
    first = system.store(text="once", idempotency_key="k")
    assert system.store(text="once", id=first.id, idempotency_key="k").duplicate
    with pytest.raises(IdempotencyConflict) as error:
        system.store(text="twice", id=other, idempotency_key="k")
    assert (error.value.pointer, error.value.details["position"]) == ("/id", first.position)
    assert system.store(text="twice", id=other, idempotency_key="k", namespace="n").duplicate is False


# --- bulk --------------------------------------------------------------------------------------------------------

KEY = "/payload/name"


def line(name: str, **fields: object) -> bytes:
    return json.dumps({"payload": {"name": name}, **fields}).encode()


@pytest.mark.parametrize("rehearse", [False, True])
@pytest.mark.parametrize("between", [0, 600])
def test_what_one_run_appended_is_compared_with_its_later_lines(
    system: MemorySystem, between: int, rehearse: bool
) -> None:
    lines = [
        line("a"),
        line("b", timestamp="2026-01-01"),
        b'{"importance": 1.0, "payload": {"text": "x", "name": "c"}}',
        *(line(f"n{number}") for number in range(between)),
        line("a"),
        line("a", extra=1),
        line("b"),
        line("b", timestamp="2026-01-01T00:00:00Z"),
        line("b", timestamp="2026-01-02"),
        line("a", timestamp="2026-01-01"),
        b'{"payload": {"name": "c", "text": "x"}, "importance": 1.0}',
    ]
    result = system.produce(lines, key=KEY, rehearse=rehearse)
    assert [(reject.line - between, reject.code) for reject in result.rejects] == [
        (number, "idempotency_conflict") for number in (5, 8, 9)
    ]
    assert (result.accepted, result.duplicates) == (between + 7, 4)
    assert (result.appended, events(system)) == ((0, 0) if rehearse else (between + 3, between + 3))


def test_a_conflict_names_the_line_that_was_first(system: MemorySystem) -> None:
    result = system.produce([line("b"), line("a"), line("a", extra=1)], key=KEY)
    assert "in line 2 with other content (extra differ)" in result.rejects[0].message


class SmallLog(SqliteEventLog):
    """A log on a disk that has room for one batch."""

    def append(self, records: Any) -> list[Appended]:
        if any(bounds.end for bounds in self.bounds(EVENTS_TOPIC).values()):
            raise OutOfSpace("the disk is full")
        return super().append(records)


def test_a_run_that_fails_half_way_tells_what_it_did(system: MemorySystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce, "_BATCH_S", 3600.0)  # a batch ends when it is full
    system.adapters._log = SmallLog(open_data_folder(system.settings.data_dir))
    with pytest.raises(OutOfSpace) as error:
        system.produce([line(f"n{number}") for number in range(1100)])
    assert error.value.details == {
        "accepted": 500,
        "appended": 500,
        "first_position": "memory.events/0@0",
        "last_position": "memory.events/0@499",
    }


def test_an_atomic_bulk_finds_conflicts_before_it_appends(system: MemorySystem) -> None:
    system.produce([b'{"payload": {"name": "a", "v": 1}}'], key="/payload/name")
    lines = [b'{"payload": {"name": "b"}}', b'{"payload": {"name": "a", "v": 2}}']
    rehearsed = system.produce(lines, key="/payload/name", rehearse=True)
    assert (rehearsed.accepted, rehearsed.appended, rehearsed.rejected) == (1, 0, 1)
    assert rehearsed.rejects[0].code == "idempotency_conflict"
    assert events(system) == 1


def test_an_empty_key_is_no_key(system: MemorySystem) -> None:
    with pytest.raises(UsageError):
        system.store(text="a", idempotency_key="")
    result = system.produce([b'{"payload": {"name": ""}}'], key="/payload/name")
    assert (result.appended, result.rejected) == (0, 1)
