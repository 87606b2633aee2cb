"""The next batch, polled while the one in hand is written: nothing is left out, done twice or waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import LogBehind, ServiceUnavailable, SomaError
from soma_cli.core.ports import Assigned, Consumer, PositionMismatch, Revoked, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers.loop import Worker
from soma_cli.core.workers.projection import Tally
from soma_cli.core.workers.source import Limits, PollNext, Source

SETTINGS = WorkerSettings(batch_size=4, poll_interval_s=0.005, backoff_initial_s=0.01, backoff_max_s=0.02)
GROUP = "test"


class Overlapping:
    """Keeps what it was given, batch by batch, and what it polled in the middle of each; then fails as it is told."""

    name = "overlapping"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.ahead: list[list[int]] = []
        self.stored = 0
        self.failures: list[SomaError] = []
        self.poll_next: PollNext = tuple
        self.before: Callable[[Run], object] = lambda run: None
        self.meanwhile: Callable[[], object] = lambda: None

    def overlap(self, poll_next: PollNext) -> None:
        self.poll_next = poll_next

    def positions(self) -> dict[int, int]:
        return {0: self.stored}

    def process(self, runs: Sequence[Run]) -> Tally:
        [run] = runs
        self.before(run)
        self.ahead.append([record.offset for each in self.poll_next() for record in each.records])
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        assert run.start == self.stored
        self.batches.append([record.offset for record in run.records])
        self.stored = run.end
        return Tally(read=len(run.records), applied=len(run.records))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    made = SqliteEventLog(open_data_folder(tmp_path / "data"), poll_interval_s=0.005)
    made.append([NewRecord(EVENTS_TOPIC, b"k", b"v")] * 10)
    yield made
    made.close()


def worker(log: SqliteEventLog, projection: Overlapping, **limits: object) -> Worker:
    def join(start: Assigned, revoked: Revoked) -> Consumer:
        return log.consumer(GROUP, EVENTS_TOPIC, start, revoked)

    source = Source(EVENTS_TOPIC, join, overlap=projection.overlap)
    return Worker(log, projection, source, SETTINGS, Limits(**limits or {"until_end": True}))  # type: ignore[arg-type]


def failing_once(run: Worker, at_poll: int, failure: SomaError) -> list[int]:
    """Its consumer's poll of that number fails. Returns the limits it is polled with, as they come."""
    join, limits = run._source.consumer, list[int]()

    def joined(start: Assigned, revoked: Revoked) -> Consumer:
        consumer = join(start, revoked)
        poll = consumer.poll

        def polled(limit: int, timeout_s: float) -> list[Run]:
            limits.append(limit)
            if len(limits) == at_poll:
                raise failure
            return poll(limit, timeout_s)

        consumer.poll = polled  # type: ignore[method-assign]
        return consumer

    run._source = replace(run._source, consumer=joined)
    return limits


ALL = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_each_batch_is_polled_while_the_one_before_is_written(log: SqliteEventLog) -> None:
    kv = Overlapping()
    more = [NewRecord(EVENTS_TOPIC, b"k", b"v")] * 3
    kv.before = lambda run: log.append(more) if run.end == 10 else None
    done = worker(log, kv).run()
    assert kv.batches == ALL
    assert kv.ahead == [*ALL[1:], []], "what comes behind a batch that is not full had better grow"
    assert (done.tally.read, done.positions) == (10, {0: 10})


def test_a_batch_that_is_written_anew_does_not_poll_again(log: SqliteEventLog) -> None:
    kv = Overlapping()
    kv.failures = [ServiceUnavailable("away")] * 2
    worker(log, kv).run()
    assert kv.batches == ALL
    assert kv.ahead == [[4, 5, 6, 7], [], [], [8, 9], []]


def test_the_end_of_max_events_is_exact(log: SqliteEventLog) -> None:
    kv = Overlapping()
    limits = failing_once(run := worker(log, kv, max_events=6), 0, ServiceUnavailable("never"))
    assert run.run().tally.read == 6
    assert kv.batches == [[0, 1, 2, 3], [4, 5]]
    assert limits == [4, 2]


@pytest.mark.parametrize("stored", [0, 2, 4, 8])
def test_what_was_polled_is_read_anew_where_the_store_is_elsewhere(log: SqliteEventLog, stored: int) -> None:
    kv = Overlapping()
    kv.failures = [PositionMismatch("put back, or passed by another", 0, stored)]
    kv.meanwhile = lambda: setattr(kv, "stored", stored) if kv.failures else None
    worker(log, kv).run()
    assert [offset for batch in kv.batches for offset in batch] == list(range(stored, 10))


def test_a_poll_that_fails_is_tried_again_when_it_is_its_turn(log: SqliteEventLog) -> None:
    kv = Overlapping()
    failing_once(run := worker(log, kv), 2, ServiceUnavailable("the brokers are away"))
    said: list[str] = []
    run._report = lambda status: said.append(status.detail)
    run.run()
    assert kv.batches == ALL
    assert any("the brokers are away" in detail for detail in said)


def test_what_ends_a_worker_ends_it_behind_the_batch_in_hand(log: SqliteEventLog) -> None:
    kv = Overlapping()
    failing_once(run := worker(log, kv), 2, LogBehind("the log was replaced", hint=""))
    with pytest.raises(LogBehind):
        run.run()
    assert kv.batches == ALL[:1]


def test_what_is_ready_and_not_next_is_read_anew(log: SqliteEventLog) -> None:
    """As where the partition went away and came back between the poll and its end."""
    kv = Overlapping()
    run = worker(log, kv)
    old = [Run(0, 1, 6, list(log.scan(EVENTS_TOPIC, 0, 1, 6)))]
    kv.meanwhile = lambda: setattr(run._ahead, "_runs", old) if not kv.batches else None
    run.run()
    assert kv.batches == ALL


def test_nothing_is_done_after_stop(log: SqliteEventLog) -> None:
    kv = Overlapping()
    run = worker(log, kv, until_end=False)
    kv.meanwhile = run.stop.set
    run.run()
    assert kv.batches == ALL[:1]
    assert log.committed(GROUP, EVENTS_TOPIC)[0].offset == 4, "what was polled ahead is not passed"


def test_partitions_that_go_to_another_member_meanwhile_are_left_to_it(log: SqliteEventLog) -> None:
    kv = Overlapping()
    run = worker(log, kv, until_end=False)

    def taken_away() -> None:
        run._revoked(frozenset([0]))
        run.stop.set()

    kv.meanwhile = taken_away
    run.run()
    assert kv.batches == ALL[:1]
    assert [run._is_next(one) for one in run._ahead.take()] == [False]
