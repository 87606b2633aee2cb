"""The landing worker's consumer where the brokers, or a right at them, are missing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError
from soma_cli.core.ports import Bounds, Committed, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.workers import landing_consumer
from soma_cli.core.workers.landing_consumer import LandingConsumer, Pace


class Log(SqliteEventLog):
    """Says so where it is told to be away."""

    fails: SomaError | None = None
    refuses: SomaError | None = None
    asked = 0

    def bounds(self, topic: str) -> dict[int, Bounds]:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return super().bounds(topic)

    def committed(self, group: str, topic: str) -> dict[int, Committed]:
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses
        return super().committed(group, topic)


class Landed:
    """The landing table, in memory."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.fails: SomaError | None = None
        self.cleared: list[dict[int, int]] = []

    def hold(self) -> bool:
        return True

    def schema(self) -> str:
        return "public"

    def landed(self, topic_id: str, positions: Mapping[int, int], limit: int) -> dict[int, list[Record]]:
        found = [record for record in self.records if record.offset >= positions[record.partition]][:limit]
        return {0: found} if found else {}

    def clear(self, positions: Mapping[int, int]) -> None:
        self.cleared.append(dict(positions))
        if self.fails is not None:
            raise self.fails

    def waiting(self, topic_id: str, positions: Mapping[int, int]) -> tuple[int, int | None]:
        return 0, None

    def close(self) -> None:
        pass


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setattr(landing_consumer, "_LOOK_EVERY_S", 0.0)
    made = Log(open_data_folder(tmp_path / "data"), poll_interval_s=0.005)
    made.append([NewRecord(EVENTS_TOPIC, b"k", b"v") for _ in range(6)])
    yield made
    made.close()


def consumer(log: Log, landing: Landed) -> LandingConsumer:
    pace = Pace(stall_s=60.0, poll_interval_s=0.01)
    made = LandingConsumer(landing, log, "connect-x", pace, lambda run: run, lambda _: 0, lambda _: None)
    assert made.poll(0, 0) == []
    return made


def records(log: Log) -> list[Record]:
    return list(log.scan(EVENTS_TOPIC, 0, 0, 6))


def places(runs: list[Run]) -> list[tuple[int, int]]:
    return [(run.start, run.end) for run in runs]


def test_what_has_landed_is_read_also_while_the_brokers_are_away(log: Log) -> None:
    landing = Landed(records(log)[:4])
    reading = consumer(log, landing)
    log.fails = ServiceUnavailable("away")
    assert places(reading.poll(10, 0)) == [(0, 4)]
    with pytest.raises(ServiceUnavailable):
        reading.poll(10, 0)
    log.fails = None
    landing.records = records(log)
    assert places(reading.poll(10, 0)) == [(4, 6)]


def test_brokers_that_are_away_are_asked_again_a_moment_later(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    landing = Landed(records(log)[:1])
    reading = consumer(log, landing)
    monkeypatch.setattr(landing_consumer, "_LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(reading, "_looked_at", time.monotonic() - 4000)
    log.fails, before = ServiceUnavailable("away"), log.asked
    assert places(reading.poll(10, 0)) == [(0, 1)]
    landing.records = records(log)[:3]
    assert places(reading.poll(10, 0)) == [(1, 3)]
    assert log.asked == before + 1


def test_without_the_right_to_ask_for_connects_group_it_goes_on_and_says_so_once(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    log.refuses = ConfigurationError("no right to it", hint="", code="not_authorized")
    reading = consumer(log, Landed(records(log)[:4]))
    assert places(reading.poll(10, 0)) == [(0, 4)]
    assert reading.poll(10, 0) == []
    assert [line for line in caplog.messages if "no right to it" in line] == [caplog.messages[0]]
    log.refuses = ConfigurationError("another", hint="", code="other")
    with pytest.raises(ConfigurationError, match="another"):
        consumer(log, Landed([])).poll(10, 0)


def test_rows_that_could_not_be_cleared_are_cleared_at_another_look(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_consumer, "_CLEAR_EVERY_S", 0.0)
    landing = Landed(records(log)[:4])
    reading = consumer(log, landing)
    landing.fails = ServiceUnavailable("slow")
    reading.poll(10, 0)
    reading.commit({0: 4})
    landing.fails = None
    reading.poll(10, 0)
    assert landing.cleared[-2:] == [{0: 4}, {0: 4}]
