"""Reading a compacted log from its audit, while time goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import pytest

from soma_cli.core.eventing import audit
from soma_cli.core.eventing.audit import audit_gap, audit_record, runs_of, source_of, unaudited
from soma_cli.core.ports import Bounds, Consumer, EventLog, Run
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, Record
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers.loop import Worker
from soma_cli.core.workers.projection import Tally
from soma_cli.core.workers.source import Source


class AgeingLog:
    """Ten events, all in the audit. What is older than `horizon` is compacted away, down to nothing."""

    follows_itself = False

    def __init__(self) -> None:
        self.horizon = 3
        self.events = [Record(EVENTS_TOPIC, 0, at, at, b"k", b"%d" % at) for at in range(10)]
        copies = [audit_record(record, "topic") for record in self.events]
        self.audit = [Record(AUDIT_TOPIC, 0, n, n, c.key, c.value, tuple(c.headers)) for n, c in enumerate(copies)]

    def topics(self) -> list[str]:
        return [EVENTS_TOPIC, AUDIT_TOPIC]

    def topic_id(self, topic: str, *, anew: bool = False) -> str:
        return "topic"

    def bounds(self, topic: str, reaching: Mapping[int, int] | None = None) -> dict[int, Bounds]:
        return {0: Bounds(0, 10)}

    def compacted_before(self, topic: str) -> int:
        return self.horizon

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        return instant

    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        oldest = self.horizon if topic == EVENTS_TOPIC else 0
        held = self.events if topic == EVENTS_TOPIC else self.audit
        return iter([record for record in held if max(start, oldest) <= record.offset < end])


def test_what_is_compacted_away_while_the_audit_is_read_is_not_lost() -> None:
    log, read = AgeingLog(), list[int]()
    for run in runs_of(cast(EventLog, log), 0, 0, 10, limit=2):
        read += [record.offset for record in run.records]
        log.horizon = min(log.horizon + 3, 10)
    assert read == list(range(10))


@pytest.mark.parametrize("name", ["soma-source-offset", "soma-source-appended-at"])
@pytest.mark.parametrize("number", [b"9" * 5000, b"", b"-1", None])
def test_what_names_no_offset_or_time_is_no_audit_record(name: str, number: bytes | None) -> None:
    copy = audit_record(Record(EVENTS_TOPIC, 0, 7, 8, b"k", b"v"), "topic")
    record = Record(AUDIT_TOPIC, 0, 0, 0, copy.key, copy.value, copy.headers)
    assert source_of(record) is not None
    assert source_of(record._replace(headers=(*copy.headers, (name, number)))) is None


def test_what_is_young_is_read_from_the_log_itself() -> None:
    log = AgeingLog()
    log.audit.clear()
    assert [len(run.records) for run in runs_of(cast(EventLog, log), 0, 3, 10, limit=4)] == [4, 3]


def test_of_large_records_there_are_fewer_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_RUN_BYTES", 3)
    runs = list(runs_of(cast(EventLog, AgeingLog()), 0, 0, 10, limit=4))
    assert [(run.start, run.end, len(run.records)) for run in runs] == [(0, 3, 3), (3, 6, 3), (6, 9, 3), (9, 10, 1)]


def test_an_empty_audit_lacks_also_what_compaction_took_whole() -> None:
    log = AgeingLog()
    log.audit.clear()
    assert audit_gap(cast(EventLog, log), log.horizon) == {0: 3}
    assert audit_gap(cast(EventLog, log), log.horizon, {0: 10}) == {0: 3}, "of an audit that was there before"
    assert unaudited(cast(EventLog, log), 0, 1, 3) == (1, 3)


def test_an_audit_behind_lacks_what_its_group_has_not_passed() -> None:
    log = AgeingLog()
    log.horizon = 6
    del log.audit[4:]
    assert audit_gap(cast(EventLog, log), log.horizon) == {0: 2}
    assert audit_gap(cast(EventLog, log), log.horizon, {0: 4}) == {0: 2}
    assert audit_gap(cast(EventLog, log), log.horizon, {0: 6}) == {}, "markers, that it passed"
    assert unaudited(cast(EventLog, log), 0, 0, 6) == (4, 6)
    assert unaudited(cast(EventLog, log), 0, 0, 4) is None


def test_markers_at_the_end_are_no_gap() -> None:
    log = AgeingLog()
    del log.audit[8:], log.events[8:]
    assert audit_gap(cast(EventLog, log), 10) == {}


class Counting:
    name = "kv"

    def __init__(self) -> None:
        self.read: list[int] = []

    def positions(self) -> dict[int, int]:
        return {}

    def process(self, runs: Sequence[Run]) -> Tally:
        self.read += [record.offset for run in runs for record in run.records]
        return Tally()


class Member:
    """It has the one partition, and reads nothing."""

    def assigned(self) -> frozenset[int]:
        return frozenset({0})

    def keep(self) -> None: ...
    def seek(self, partition: int, offset: int) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("audited", [2, 10])
def test_a_worker_tells_what_it_passes_over(audited: int, caplog: pytest.LogCaptureFixture) -> None:
    log, counting, member = AgeingLog(), Counting(), Member()
    log.horizon = 6
    del log.audit[audited:]
    source = Source(EVENTS_TOPIC, lambda start, revoked: cast(Consumer, member))
    worker = Worker(cast(EventLog, log), counting, source, WorkerSettings())
    worker._joined()
    worker._start(0)
    worker._catch_up_compacted([])
    worker._leave()
    told = [record.getMessage() for record in caplog.records]
    assert counting.read == list(range(min(audited, 6)))
    assert worker.status.positions == {0: 6}
    assert len(told) == (audited < 6)
    assert all("memory.events/0 from offset 2 to 5" in message and "soma consume audit" in message for message in told)
