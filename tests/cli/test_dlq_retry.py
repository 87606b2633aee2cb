"""soma dlq: letters are settled by what became of them, whoever wrote them and whatever else is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import OutOfSpace
from soma_cli.core.event import new_id
from soma_cli.core.ports import Appended
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, Headers, NewRecord
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app


@pytest.fixture
def system(tmp_path: Path) -> Iterator[MemorySystem]:
    with create_memory_system(data_dir=tmp_path, worker__max_rejects_in_a_row=3) as made:
        made.store(text="settles the dimension", embedding=[1.0, 0.0], model_revision="m")
        made.apply_vector()
        yield made


def soma(system: MemorySystem, *arguments: str) -> Result:
    folder, limit = str(system.settings.data_dir), str(system.settings.worker.max_rejects_in_a_row)
    environment = {"SOMA_DATA_DIR": folder, "SOMA_WORKER__MAX_REJECTS_IN_A_ROW": limit}
    return CliRunner().invoke(app, list(arguments), env=environment)


def shown(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout)


def bury(system: MemorySystem, id: str | None = None, type: str = "created") -> str:
    """A valid event whose vector has the wrong dimension: kv applies it, vector writes a letter. Returns its source."""
    event = {"event_id": new_id(), "id": id or new_id(), "namespace": "default", "type": type}
    event |= {"timestamp": "2026-01-01T00:00:00Z", "payload": {"text": "hello"}}
    event |= {"embedding": [1.0], "model_revision": "m"}
    record = NewRecord(EVENTS_TOPIC, event["id"].encode(), json.dumps(event).encode())
    position = system.adapters.log.append([record])[0].position
    system.apply_vector()
    return str(position)


def write_letter(system: MemorySystem, value: bytes = b"v", headers: Headers = (), key: bytes = b"other") -> str:
    return str(system.adapters.log.append([NewRecord(DEAD_LETTER_TOPIC, key, value, headers)])[0].position)


def test_a_letter_whose_event_is_ignored_stays_however_often_it_is_sent(system: MemorySystem) -> None:
    id = system.store(text="first").id
    source = bury(system, id, "updated")
    system.delete(id)
    for _ in range(2):
        result = soma(system, "dlq", "retry", source, "--force", "-o", "json")
        assert (result.exit_code, result.stdout) == (7, "")
        error = json.loads(result.stderr)["error"]
        assert error["code"] == "newer_state"
        assert "was ignored: updated, but the memory is deleted; its letter stays" in error["message"]
        assert [found.source for found in system.admin.dead_letters()] == [source]
    system.store(text="back again", id=id)
    (done,) = shown(soma(system, "dlq", "retry", source, "--force", "-o", "json"))
    assert done["result"] == "retried"
    assert system.fetch(id).payload == {"text": "hello"}
    assert system.admin.dead_letters() == []


def test_a_retry_that_died_before_the_letter_was_settled_is_settled_by_the_next_one(
    system: MemorySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = new_id()
    source = bury(system, id)
    append = SqliteEventLog.append

    def no_tombstones(log: SqliteEventLog, records: Sequence[NewRecord]) -> list[Appended]:
        if any(record.value is None for record in records):
            raise OutOfSpace("no space left")
        return append(log, records)

    with monkeypatch.context() as full:
        full.setattr(SqliteEventLog, "append", no_tombstones)
        assert soma(system, "dlq", "retry", source).exit_code == 4
    assert [found.source for found in system.admin.dead_letters()] == [source]
    (done,) = shown(soma(system, "dlq", "retry", source, "-o", "json"))
    history = system.history(id)
    assert (done["result"], done["position"]) == ("retried", history[1].position)
    assert [entry.outcome for entry in history] == ["applied", "applied"]
    assert system.admin.dead_letters() == []


def test_letters_of_other_writers_are_shown_and_can_be_settled(system: MemorySystem) -> None:
    digits = b"9" * 5000
    odd = (("soma-source", b"elsewhere"), ("soma-attempts", digits), ("soma-appended-at", digits))
    positions = [write_letter(system, b"v", odd, b"a"), write_letter(system, b"v", (), b"b")]
    listed = shown(soma(system, "dlq", "list", "-o", "json"))
    assert [(found["position"], found["source"], found["attempts"]) for found in listed] == [
        (position, position, 1) for position in positions
    ]
    assert shown(soma(system, "stats", "-o", "json"))["dead_letters"] == 2
    assert soma(system, "wait", "memory.events/0@0").exit_code == 0
    (again,) = shown(soma(system, "dlq", "retry", positions[0], "-o", "json"), 5)
    assert (again["result"], again["attempts"]) == ("rejected", 2)
    rewritten = [found for found in system.admin.dead_letters() if found.source == positions[0]]
    assert [found.attempts for found in rewritten] == [2], "in the place of the foreign one, not beside it"
    for found in system.admin.dead_letters():
        assert soma(system, "dlq", "discard", found.position).exit_code == 0
    assert system.admin.dead_letters() == []


def test_a_letter_that_does_not_say_when_it_failed_overtakes_nothing(system: MemorySystem) -> None:
    id = system.store(text="newer").id
    event = {"event_id": new_id(), "id": id, "namespace": "default", "type": "created"}
    event |= {"timestamp": "2026-01-01T00:00:00Z", "payload": {"text": "older"}}
    for number in range(5):
        position = write_letter(system, json.dumps(event).encode(), (("soma-key", id.encode()),), b"%d" % number)
    assert soma(system, "dlq", "retry", position).exit_code == 7
    assert system.fetch(id).payload == {"text": "newer"}
    assert soma(system, "dlq", "retry", position, "--force").exit_code == 0
    assert system.fetch(id).payload == {"text": "older"}


def test_an_attempt_count_beyond_all_numbers_stops_no_read(system: MemorySystem) -> None:
    headers = (("soma-attempts", b"9" * 5000),)
    system.adapters.log.append([NewRecord(EVENTS_TOPIC, b"k", b"not json", headers)])
    assert soma(system, "list").exit_code == 0
    assert [found.attempts for found in system.admin.dead_letters()] == [1]


def test_what_a_letter_says_moves_no_cursor_of_the_terminal(system: MemorySystem) -> None:
    headers = (("soma-message", b"a\x1b[2Jb"), ("soma-key", b"k\x1b[2J"), ("soma-worker", b"w\x1b[2J"))
    position = write_letter(system, b"v", headers)
    assert "\x1b" not in soma(system, "dlq", "show", position).stdout
    assert "\x1b" not in soma(system, "dlq", "list").stdout


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_all_reads_the_letters_once(system: MemorySystem, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        bury(system)
        bury(system)
        system.store(text="ends the row of bad vectors", embedding=[0.0, 1.0], model_revision="m")
    scan, scanned = SqliteEventLog.scan, []

    def counted(log: SqliteEventLog, topic: str, *range: Any) -> Any:
        scanned.append(topic)
        return scan(log, topic, *range)

    monkeypatch.setattr(SqliteEventLog, "scan", counted)
    done = shown(soma(system, "dlq", verb, "--all", "--execute", "--yes", "-o", "json"))
    assert len(done) == 10
    assert scanned.count(DEAD_LETTER_TOPIC) == 1


def test_a_full_disk_ends_all_of_it_with_its_own_code_and_shows_what_was_done(
    system: MemorySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [bury(system) for _ in range(3)]
    append, left = SqliteEventLog.append, [1]

    def until_full(log: SqliteEventLog, records: Sequence[NewRecord]) -> list[Appended]:
        left[0] -= 1
        if left[0] < 0:
            raise OutOfSpace("no space left")
        return append(log, records)

    with monkeypatch.context() as full:
        full.setattr(SqliteEventLog, "append", until_full)
        result = soma(system, "dlq", "discard", "--all", "--execute", "--yes", "-o", "json")
    assert [done["source"] for done in shown(result, 4)] == sources[:1]
    assert json.loads(result.stderr)["error"]["code"] == "out_of_space"
    assert [found.source for found in system.admin.dead_letters()] == sources[1:]


def test_one_letter_that_cannot_be_sent_leaves_the_others_to_be(system: MemorySystem) -> None:
    id = new_id()
    changed, fine = bury(system, id), bury(system)
    system.update(id, text="newer")
    result = soma(system, "dlq", "retry", "--all", "--execute", "--yes", "-o", "json")
    assert [done["source"] for done in shown(result, 7)] == [fine]
    assert f"has changed since {changed} failed" in result.stderr
    assert changed in [found.source for found in system.admin.dead_letters()]


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_all_of_no_letters_is_an_empty_list(system: MemorySystem, verb: str) -> None:
    assert shown(soma(system, "dlq", verb, "--all", "--execute", "--yes", "-o", "json")) == []
    assert soma(system, "dlq", verb, "--all", "--execute").stdout == "no dead letters\n"


def test_letters_can_be_dealt_with_while_bad_records_have_stopped_kv(system: MemorySystem) -> None:
    valid = bury(system)
    bad = [NewRecord(EVENTS_TOPIC, b"k", b"not json") for _ in range(9)]
    first = str(system.adapters.log.append(bad)[0].position)
    listed = shown(soma(system, "dlq", "list", "-o", "json"))
    assert [found["source"] for found in listed[:2]] == [valid, first]
    assert shown(soma(system, "dlq", "show", first, "-o", "json"))["source"] == first
    assert shown(soma(system, "dlq", "retry", first, "-o", "json"), 5)[0]["result"] == "rejected"
    ends = system.adapters.log.bounds(EVENTS_TOPIC)
    stopped = soma(system, "dlq", "retry", valid, "-o", "json")
    assert stopped.exit_code == 7
    assert '"code":"too_many_rejects"' in stopped.stderr
    assert system.adapters.log.bounds(EVENTS_TOPIC) == ends, "nothing is sent that kv can't reach"
    assert shown(soma(system, "dlq", "discard", first, "-o", "json"))[0]["result"] == "discarded"
    left = [found.source for found in system.admin.dead_letters()]
    assert valid in left
    assert first not in left
