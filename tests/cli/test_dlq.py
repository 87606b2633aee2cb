"""soma dlq: dead letters looked at, sent again, settled."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.event import new_id
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.serialization import serialize
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app


@pytest.fixture
def system(tmp_path: Path):
    with create_memory_system(data_dir=tmp_path) as made:
        yield made


def soma(system: MemorySystem, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(system.settings.data_dir), *arguments])


def foreign(system: MemorySystem, key: bytes | None, value: bytes | None) -> str:
    """Append what no producer of soma's would."""
    headers = (("trace", b"\x00\xff"),)
    return str(system.adapters.log.append([NewRecord(EVENTS_TOPIC, key, value, headers)])[0].position)  # type: ignore[arg-type]


def event(id: str, **fields: object) -> bytes:
    document = {
        "event_id": new_id(),
        "id": id,
        "namespace": "default",
        "type": "created",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"text": "hello"},
        **fields,
    }
    return serialize(document)


def test_list_shows_the_original_bytes_and_what_went_wrong(system: MemorySystem) -> None:
    position = foreign(system, b"k", b"\xffnot json")
    result = soma(system, "dlq", "list", "-o", "json")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)
    assert base64.b64decode(found["value_base64"]) == b"\xffnot json"
    assert (found["source"], found["code"], found["worker"], found["attempts"]) == (position, "not_json", "kv", 1)
    assert found["value"] is None
    assert found["headers"] == [{"key": "trace", "value": "\x00\ufffd"}]
    assert {"position", "message", "failed_at"} <= set(found)


def test_show_takes_the_position_of_the_letter_or_of_its_source(system: MemorySystem) -> None:
    source = foreign(system, b"k", b'{"a": 1}')
    (listed,) = json.loads(soma(system, "dlq", "list", "-o", "json").stdout)
    for position in (source, listed["position"]):
        assert json.loads(soma(system, "dlq", "show", position, "-o", "json").stdout)["value"] == {"a": 1}
    assert soma(system, "dlq", "show", "memory.dlq/0@99").exit_code == 6
    assert soma(system, "dlq", "show", "nonsense").exit_code == 2


def test_a_retried_letter_that_is_still_bad_returns_with_its_attempt_count(system: MemorySystem) -> None:
    source = foreign(system, b"k", b"not json")
    for attempts in (2, 3):
        result = soma(system, "dlq", "retry", source, "-o", "json")
        assert result.exit_code == 5
        (again,) = json.loads(result.stdout)
        (found,) = json.loads(soma(system, "dlq", "list", "-o", "json").stdout)
        assert (again["result"], again["position"]) == ("rejected", found["position"])
        assert (found["attempts"], found["source"]) == (attempts, source)
        assert base64.b64decode(found["value_base64"]) == b"not json"


def dense(system: MemorySystem, id: str, numbers: list[float]) -> str:
    position = foreign(system, id.encode(), event(id, embedding=numbers, model_revision="m"))
    system.apply_vector()
    return position


def test_a_retry_is_sent_once_and_reaches_the_worker_that_failed(system: MemorySystem) -> None:
    dense(system, new_id(), [1.0, 0.0, 0.0])
    id = new_id()
    source = dense(system, id, [1.0])
    (found,) = system.admin.dead_letters()
    assert (found.worker, found.code, found.source) == ("vector", "wrong_dimension", source)
    assert [hit.id for hit in system.search("hello")].count(id) == 1, "its text is found all the same"
    result = soma(system, "dlq", "retry", source, "-o", "json")
    assert result.exit_code == 0, result.output
    (done,) = json.loads(result.stdout)
    assert done["result"] == "retried"
    system.apply_vector()
    (again,) = system.admin.dead_letters()
    assert (again.source, again.attempts) == (done["position"], 2), "still of the wrong dimension, and counted"
    assert [entry.outcome for entry in system.history(id)] == ["applied", "applied"]


def test_a_retry_never_overtakes_a_newer_state_unless_forced(system: MemorySystem) -> None:
    dense(system, new_id(), [1.0, 0.0, 0.0])
    id = new_id()
    source = dense(system, id, [1.0])
    system.update(id, text="newer")
    result = soma(system, "dlq", "retry", source)
    assert result.exit_code == 7
    assert "--force" in result.stderr
    assert system.fetch(id).payload == {"text": "newer"}
    forced = soma(system, "dlq", "retry", source, "--force")
    assert forced.exit_code == 0, forced.output
    assert system.fetch(id).payload == {"text": "hello"}


def test_discard_settles_a_letter(system: MemorySystem) -> None:
    source = foreign(system, b"k", b"not json")
    system.apply_kv()
    assert soma(system, "dlq", "discard", source).exit_code == 0
    assert system.admin.dead_letters() == []
    assert soma(system, "dlq", "discard", source).exit_code == 6


def test_all_shows_its_plan_first_and_refuses_without_a_terminal(system: MemorySystem) -> None:
    for number in range(3):
        foreign(system, b"k", b"not json %d" % number)
    plan = soma(system, "dlq", "discard", "--all", "-o", "json")
    assert (plan.exit_code, len(json.loads(plan.stdout))) == (0, 3)
    assert soma(system, "dlq", "discard", "--all", "--execute").exit_code == 2
    assert len(system.admin.dead_letters()) == 3
    assert soma(system, "dlq", "discard", "--all", "--execute", "--yes").exit_code == 0
    assert system.admin.dead_letters() == []
    assert soma(system, "dlq", "retry").exit_code == 2, "neither a position nor --all"


def test_a_batch_with_one_bad_record_costs_that_record_only(system: MemorySystem) -> None:
    good = [new_id() for _ in range(4)]
    for id in good[:2]:
        foreign(system, id.encode(), event(id))
    foreign(system, good[0].encode(), event(good[1]))
    foreign(system, None, None)
    for id in good[2:]:
        foreign(system, id.encode(), event(id))
    assert [system.fetch(id).id for id in good] == good
    assert [found.code for found in system.admin.dead_letters()] == ["key_mismatch", "null_value"]
