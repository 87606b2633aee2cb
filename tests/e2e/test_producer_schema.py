"""Producers that check events with the registry's schema too: a real registry, which changes and goes away."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import ConfigurationError, EventRejected, ServiceUnavailable
from soma_cli.core.eventing import producer_schema
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.schemas import schema_text
from soma_cli.core.settings import RegistrySettings
from soma_cli.core.system import MemorySystem, create_memory_system
from tests.e2e.conftest import Soma
from tests.services import registry_url
from tests.services.front import Front, Reply

AWAY = Reply(503, "application/json", b'{"error_code": 50301, "message": "away"}')


def with_source(kind: str) -> str:
    """`memory.event` with an optional field more."""
    schema = json.loads(schema_text("memory.event"))
    schema["properties"]["source"] = {"type": kind}
    return json.dumps(schema)


class Registry:
    """The real registry behind a front that counts what it is asked, and a subject of the test's own."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.prefix = f"t{uuid4().hex[:10]}."
        self.subject = f"{self.prefix}memory.events-value"
        self._own = ConfluentRegistry(RegistrySettings(kind="confluent_http", url=registry_url(), timeout_s=60.0))

    def register(self, text: str) -> int:
        self._own.set_mode(self.subject, Mode.NONE)
        return self._own.register(self.subject, text).version

    def away(self) -> None:
        self.front.answer = lambda method, path: AWAY

    def asked(self) -> int:
        """Requests since this was asked last."""
        count = len(self.front.asked)
        self.front.asked.clear()
        return count

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "log__topic_prefix": self.prefix,
            "registry__kind": "confluent_http",
            "registry__url": self.front.address,
            "registry__validate": "latest",
            "registry__timeout_s": 60.0,
        }

    @property
    def environment(self) -> dict[str, str]:
        return {f"SOMA_{name.upper()}": str(value) for name, value in self.settings.items()}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Front(registry_url()) as front:
        registry = Registry(front)
        registry.register(with_source("string"))
        yield registry
        registry._own.close()


@pytest.fixture
def system(registry: Registry, tmp_path: Path) -> Iterator[MemorySystem]:
    with create_memory_system(data_dir=str(tmp_path / "data"), **registry.settings) as system:
        yield system


def headers(system: MemorySystem) -> list[dict[str, bytes | None]]:
    """Of each event in the log."""
    end = system.adapters.log.bounds(EVENTS_TOPIC)[0].end
    return [dict(record.headers) for record in system.adapters.log.scan(EVENTS_TOPIC, 0, 0, end)]


def lines(*sources: object) -> list[bytes]:
    return [json.dumps({"payload": {"text": "x"}, "source": source}).encode() for source in sources]


def test_every_writer_keeps_to_the_version_and_names_it(system: MemorySystem, registry: Registry) -> None:
    id = system.store(text="one").id
    system.update(id, text="two")
    system.produce(lines("a", "b"))
    system.delete(id)
    system.admin.prune(policy="roadmap", threshold=-1000.0, execute=True)
    names = headers(system)
    assert len(names) == 7
    assert {one["soma-schema-version"] for one in names} == {b"1"}
    assert all((one["soma-schema-id"] or b"").isdigit() for one in names)
    assert registry.asked() == 1


def test_without_the_setting_nothing_is_asked_and_no_header_is_written(tmp_path: Path, registry: Registry) -> None:
    settings = {**registry.settings, "registry__validate": "none"}
    with create_memory_system(data_dir=str(tmp_path / "data"), **settings) as system:
        system.store(text="one")
        assert headers(system) == [{}]
    assert registry.asked() == 0


def test_what_does_not_fit_is_refused_with_pointer_and_version(system: MemorySystem, registry: Registry) -> None:
    found = system.produce(lines("fits", 5))
    (reject,) = found.rejects
    assert (found.accepted, reject.line, reject.code, reject.pointer) == (1, 2, "registry_schema", "/source")
    assert f"does not match version 1 of {registry.subject}: 5 is not of type" in reject.message


def test_one_event_that_does_not_fit_is_not_appended(system: MemorySystem, registry: Registry) -> None:
    narrower = json.loads(with_source("string"))
    narrower["properties"]["payload"] = {"type": "object", "required": ["title"]}
    registry.register(json.dumps(narrower))
    with pytest.raises(EventRejected) as raised:
        system.store(text="one")
    error = raised.value
    assert (error.code, error.pointer) == ("registry_schema", "/payload")
    assert error.details == {"subject": registry.subject, "schema_version": 2, "pointer": "/payload"}
    assert headers(system) == []


def test_the_kv_fold_does_not_care(system: MemorySystem) -> None:
    id = system.store(text="one").id
    memory = system.get(id)
    assert memory is not None
    assert memory.payload == {"text": "one"}
    assert [entry.outcome for entry in system.history(id)] == ["applied"]


def test_an_atomic_run_refuses_all(soma: Soma, registry: Registry) -> None:
    soma.settings = registry.environment
    stdin = b"\n".join(lines("a", 5))
    assert soma.inline("produce", "--atomic", "-", stdin=stdin).returncode == 5
    with soma.library(**registry.settings) as system:
        assert headers(system) == []


def test_a_copy_that_refuses_asks_once_more(
    system: MemorySystem, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_schema, "DOUBT_S", 0.0)
    system.produce(lines("a"))
    assert registry.asked() == 1
    assert registry.register(with_source("integer")) == 2
    assert system.produce(lines(5)).accepted == 1
    assert registry.asked() == 1
    assert headers(system)[-1]["soma-schema-version"] == b"2"


def test_many_events_that_are_refused_are_not_many_questions(system: MemorySystem, registry: Registry) -> None:
    assert system.produce(lines(*range(500))).rejected == 500
    assert registry.asked() <= 3


def test_a_one_shot_command_asks_once_and_the_next_ones_not(soma: Soma, registry: Registry) -> None:
    soma.settings = registry.environment
    for asked in (1, 0, 0):
        assert soma.inline("store", "--text", "x").returncode == 0
        assert registry.asked() == asked
    soma.settings["SOMA_REGISTRY__REFRESH_S"] = "0.000001"
    assert soma.inline("store", "--text", "x").returncode == 0
    assert registry.asked() == 1


def test_a_running_producer_asks_again_after_a_while(tmp_path: Path, registry: Registry) -> None:
    settings = {**registry.settings, "registry__refresh_s": 0.000001}
    with create_memory_system(data_dir=str(tmp_path / "data"), **settings) as system:
        system.store(text="one")
        registry.register(with_source("integer"))
        system.store(text="two")
        assert [one["soma-schema-version"] for one in headers(system)] == [b"1", b"2"]


def test_the_registry_away_leaves_the_copy(soma: Soma, registry: Registry) -> None:
    soma.settings = {**registry.environment, "SOMA_REGISTRY__REFRESH_S": "0.5"}
    assert soma.inline("store", "--text", "x").returncode == 0
    registry.away()
    soma.settings["SOMA_REGISTRY__REFRESH_S"] = "0.000001"
    done = soma.inline("store", "--text", "x")
    assert done.returncode == 0
    assert f"going by the copy of version 1 of {registry.subject}" in done.stderr
    assert "503: away" in done.stderr
    refused = soma.inline("produce", "-", stdin=lines(5)[0])
    assert refused.returncode == 5
    with soma.library(**registry.settings) as system:
        assert {one["soma-schema-version"] for one in headers(system)} == {b"1"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, "text/html", b"<h1>default backend</h1>"),
        Reply(200, "text/html", b"<html>"),
        Reply(401, "application/json", b'{"error_code": 40101, "message": "who are you?"}'),
        Reply(403, "text/plain", b"no"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.content_type}",
)
def test_another_answer_in_its_place_leaves_the_copy(
    tmp_path: Path, registry: Registry, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**registry.settings, "data_dir": str(tmp_path / "data"), "registry__refresh_s": 0.000001}
    with create_memory_system(**settings) as system:
        system.store(text="one")
        registry.front.answer = lambda method, path: reply
        with caplog.at_level(logging.WARNING, "soma"):
            system.store(text="two")
        assert f"going by the copy of version 1 of {registry.subject}; " in caplog.text
        assert len(headers(system)) == 2
    settings["data_dir"] = str(tmp_path / "new")
    with create_memory_system(**settings) as system, pytest.raises(ConfigurationError, match="no copy of the schema"):
        system.store(text="one")


def test_a_registry_that_says_the_subject_is_gone_is_believed(system: MemorySystem, registry: Registry) -> None:
    system.store(text="one")
    gone = b'{"error_code": 40401, "message": "Subject not found."}'
    registry.front.answer = lambda method, path: Reply(404, "application/json", gone)
    settings = {**registry.settings, "data_dir": str(system.settings.data_dir), "registry__refresh_s": 0.000001}
    with create_memory_system(**settings) as another, pytest.raises(ConfigurationError, match="is not in the schema"):
        another.store(text="two")


def test_a_registry_that_hangs_is_waited_for_once(soma: Soma, registry: Registry) -> None:
    soma.settings = {**registry.environment, "SOMA_REGISTRY__REFRESH_S": "0.000001"}
    assert soma.inline("store", "--text", "x").returncode == 0
    soma.settings["SOMA_REGISTRY__TIMEOUT_S"] = "0.5"
    stopped = threading.Event()
    registry.front.answer = lambda method, path: [AWAY, stopped.wait(30)][0]  # type: ignore[return-value]
    registry.asked()
    assert "no answer within 0.5 s; going by the copy" in soma.inline("store", "--text", "x").stderr
    soma.settings["SOMA_REGISTRY__REFRESH_S"] = "60"
    assert soma.inline("store", "--text", "x").stderr == ""
    assert registry.asked() == 1
    stopped.set()


def test_without_a_copy_a_registry_that_is_away_stops_the_producer(system: MemorySystem, registry: Registry) -> None:
    registry.away()
    with pytest.raises(ServiceUnavailable, match="no copy of the schema here yet") as raised:
        system.store(text="one")
    assert "registry.validate" in raised.value.hint
    assert headers(system) == []


def test_a_subject_that_is_not_registered_is_told(tmp_path: Path, registry: Registry) -> None:
    settings = {**registry.settings, "log__topic_prefix": f"{registry.prefix}other."}
    with create_memory_system(data_dir=str(tmp_path / "data"), **settings) as system:
        with pytest.raises(ConfigurationError, match="is not in the schema registry") as raised:
            system.store(text="one")
        assert "soma schema register" in raised.value.hint


def test_a_version_that_is_no_schema_is_told(system: MemorySystem, registry: Registry) -> None:
    registry.register('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "nonsense"}')
    with pytest.raises(ConfigurationError, match="no event can be checked with version 2"):
        system.store(text="one")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"subject": 1}', '{"subject": "x", "version": "1", "id": 1}'])
def test_a_copy_that_is_damaged_counts_as_none(system: MemorySystem, registry: Registry, content: str) -> None:
    system.store(text="one")
    (copy,) = (system.settings.data_dir / "cache").glob("schema-*.json")
    copy.write_text(content)
    with create_memory_system(data_dir=str(system.settings.data_dir), **registry.settings) as another:
        another.store(text="two")
    assert registry.asked() == 2
    assert json.loads(copy.read_text())["version"] == 1


def test_a_folder_that_cannot_be_written_keeps_no_copy_and_says_so(
    system: MemorySystem, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    system.settings.data_dir.mkdir()
    (system.settings.data_dir / "soma.json").write_text('{"format": 1}')
    (system.settings.data_dir / "cache").write_text("a file")
    with caplog.at_level(logging.WARNING, "soma"):
        system.store(text="one")
        system.store(text="two")
    assert [record.message for record in caplog.records if "no copy" in record.message] != []
    assert len(headers(system)) == 2


def test_a_copy_in_a_new_folder_does_not_make_it_a_strangers(soma: Soma, registry: Registry) -> None:
    """A producer of a cluster may have kept a copy there before anything embedded was stored."""
    (soma.folder / "cache").mkdir(parents=True)
    (soma.folder / "cache" / "schema-x.json").write_text("{}")
    assert soma.inline("store", "--text", "x").returncode == 0


def test_no_copy_tells_a_password(system: MemorySystem, registry: Registry, tmp_path: Path) -> None:
    url = registry.front.address.replace("http://", "http://ada:s3cret@")
    with create_memory_system(data_dir=str(tmp_path / "other"), **{**registry.settings, "registry__url": url}) as other:
        other.store(text="one")
    (copy,) = (tmp_path / "other" / "cache").iterdir()
    assert "s3cret" not in copy.read_text()


def test_released_files_will_do_as_a_registry(tmp_path: Path) -> None:
    versions = tmp_path / "schemas" / "versions" / "memory.event"
    versions.mkdir(parents=True)
    (versions / "1.json").write_text(with_source("string"))
    settings = {"registry__folder": str(tmp_path / "schemas"), "registry__validate": "latest"}
    with create_memory_system(data_dir=str(tmp_path / "data"), **settings) as system:
        assert system.produce(lines("a", 5)).rejected == 1
        assert headers(system) == [{"soma-schema-version": b"1"}]


def test_threads_share_one_question(system: MemorySystem, registry: Registry) -> None:
    threads = [threading.Thread(target=system.store, kwargs={"text": str(n)}) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(headers(system)) == 8
    assert registry.asked() == 1
