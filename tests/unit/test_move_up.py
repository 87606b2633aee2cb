"""What one system's replay prints, produced in another: the same states, also where events wait for versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.operations.replay import Selection
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.system import MemorySystem, create_memory_system


@pytest.fixture
def source(tmp_path: Path) -> Iterator[MemorySystem]:
    with create_memory_system(data_dir=tmp_path / "source") as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[MemorySystem]:
    """Its offsets differ from the source's."""
    with create_memory_system(data_dir=tmp_path / "target") as made:
        made.store(text="here before", id="01890a5d-ac96-774b-bcce-b302099a8057")
        yield made


def append(system: MemorySystem, id: str, text: str, **fields: Any) -> str:
    """Straight into the log, as another process would that does not look first."""
    event = build_event(Draft({"text": text}, id=id, **fields), system.settings.limits)
    append_events(system.adapters.log, [event])
    return event.event_id


def replayed(system: MemorySystem, **selection: Any) -> list[bytes]:
    return [orjson.dumps(line) for line in system.admin.replay(Selection(**selection))]


def awaited(system: MemorySystem) -> list[str | None]:
    return [line["if_event_id"] for line in system.admin.replay() if "if_event_id" in line]


def told(system: MemorySystem, id: str) -> list[tuple[str | None, str]]:
    return [(entry.event_id, entry.outcome) for entry in system.history(id)]


def test_a_line_names_the_event_that_it_waits_for(source: MemorySystem) -> None:
    first = source.store(text="a")
    source.store(text="other")
    second = append(source, first.id, "b", type="updated", if_version=0)
    append(source, first.id, "c", type="updated", if_version=2)
    assert awaited(source) == [first.event_id, second]
    assert next(line for line in source.admin.replay() if "if_event_id" in line)["version"] == 2


def test_null_stands_for_a_version_that_the_memory_did_not_have(source: MemorySystem) -> None:
    event_id = "11111111-1111-4111-8111-111111111111"
    first, other = source.store(text="a"), source.store(text="other")
    append(source, first.id, "ignored", type="updated", if_version=1)
    append(source, first.id, "no version but a later event", type="updated", if_version=5)
    append(source, first.id, "of an event that was ignored", type="updated", if_version=2)
    append(source, first.id, "applied", type="updated", event_id=event_id)
    append(source, first.id, "a duplicate", type="updated", event_id=event_id)
    append(source, first.id, "of a duplicate", type="updated", if_version=6)
    append(source, first.id, "of its own version", type="updated", if_version=8)
    append(source, first.id, "of another epoch", type="updated", if_version=1 << 40)
    assert awaited(source) == [None] * 6
    assert source.fetch(first.id).payload == {"text": "applied"}
    assert source.fetch(other.id).payload == {"text": "other"}


def test_a_version_that_bad_records_hide_from_kv_is_read_from_the_log(source: MemorySystem) -> None:
    source.adapters.log.append([NewRecord(EVENTS_TOPIC, b"k", b"nope")] * 60)
    id = "22222222-2222-4222-8222-222222222222"
    first = append(source, id, "a")
    append(source, id, "b", type="updated", if_version=60)
    append(source, id, "c", type="updated", if_version=3)
    assert awaited(source) == [first, None]


def test_states_and_outcomes_are_the_same_wherever_offsets_lie(source: MemorySystem, target: MemorySystem) -> None:
    first, other = source.store(text="0"), source.store(text="other")
    # A chain within one batch; then what was ignored, and waits for a version that the target's memory has.
    for number in range(2, 8):
        append(source, first.id, str(number), type="updated", if_version=0 if number == 2 else number - 1)
    append(source, other.id, "late", type="updated", if_version=2)
    result = target.produce(replayed(source))
    assert (result.accepted, result.appended, result.rejected) == (9, 9, 0)
    assert target.fetch(other.id).version == 2
    for id in (first.id, other.id):
        assert target.fetch(id).payload == source.fetch(id).payload
        assert told(target, id) == told(source, id)
    assert target.fetch(first.id).payload == {"text": "7"}
    again = target.produce(replayed(source))
    assert (again.accepted, again.appended, again.duplicates) == (9, 0, 9)


def test_an_event_of_an_earlier_batch_is_found(source: MemorySystem, target: MemorySystem) -> None:
    source.produce([json.dumps({"payload": {"n": number}}).encode() for number in range(1200)])
    source.admin.prune(threshold=-100.0, execute=True)
    result = target.produce(replayed(source))
    assert (result.appended, result.rejected) == (2400, 0)
    assert [memory.payload for memory in target.list_memories()] == [{"text": "here before"}]


def test_the_tail_can_follow_later(source: MemorySystem, target: MemorySystem) -> None:
    first = source.store(text="a")
    source.update(first.id, text="b", if_version=0)
    target.produce(replayed(source, limit=1))
    result = target.produce(replayed(source, from_offset="1"))
    assert (result.appended, result.rejected) == (1, 0)
    assert target.fetch(first.id).payload == {"text": "b"}


@pytest.mark.parametrize("rehearse", [True, False])
def test_a_selection_that_leaves_out_what_an_event_waits_for_is_told(
    source: MemorySystem, target: MemorySystem, rehearse: bool
) -> None:
    source.store(text="at offset 0", namespace="b")
    memory = source.store(text="in another namespace", namespace="a")
    source.store(text="moved", id=memory.id, namespace="b", if_version=1)
    source.update(memory.id, text="moved again", if_version=2)
    result = target.produce(replayed(source, namespace="b"), rehearse=rehearse)
    assert next((reject.line, reject.code, reject.pointer) for reject in result.rejects) == (
        2,
        "if_version",
        "/if_event_id",
    )
    assert memory.event_id in result.rejects[0].message
    assert target.produce(replayed(source), rehearse=rehearse).rejected == 0


def test_a_rehearsal_of_a_whole_log_rejects_nothing(source: MemorySystem, target: MemorySystem) -> None:
    source.produce([json.dumps({"payload": {"n": number}}).encode() for number in range(600)])
    source.admin.prune(threshold=-100.0, execute=True)
    result = target.produce(replayed(source), rehearse=True)
    assert (result.accepted, result.appended, result.rejected) == (1200, 0, 0)


def test_an_event_id_that_came_twice_counts_once_there_and_here(source: MemorySystem, target: MemorySystem) -> None:
    event_id = "11111111-1111-4111-8111-111111111111"
    id = source.store(text="a").id
    append(source, id, "b", type="updated", event_id=event_id)
    append(source, id, "c", type="updated", event_id=event_id)
    for appended, duplicates in ((2, 1), (0, 3)):
        result = target.produce(replayed(source))
        assert (result.appended, result.duplicates, result.rejected) == (appended, duplicates, 0)
    assert target.fetch(id).payload == source.fetch(id).payload == {"text": "b"}


def test_an_event_may_wait_for_one_of_an_earlier_log(source: MemorySystem, target: MemorySystem) -> None:
    first = source.store(text="a")
    source.fetch(first.id)
    target.produce(replayed(source))
    source.close()
    for file in source.settings.data_dir.glob("log.sqlite3*"):
        file.unlink()
    source.admin.init(new_epoch=True)
    source.update(first.id, text="b", if_version=0)
    assert awaited(source) == [first.event_id]
    target.produce(replayed(source))
    assert target.fetch(first.id).payload == {"text": "b"}


def test_a_line_without_the_field_is_refused(source: MemorySystem, target: MemorySystem) -> None:
    first = source.store(text="a")
    source.update(first.id, text="b", if_version=0)
    lines = [orjson.dumps({k: v for k, v in line.items() if k != "if_event_id"}) for line in source.admin.replay()]
    result = target.produce(lines)
    assert [(reject.line, reject.code) for reject in result.rejects] == [(2, "if_version")]
