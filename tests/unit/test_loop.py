"""The loop of the workers over a real log: what each kind of error makes it do, and what it counts."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import ConfigurationError, LogReplaced, ServiceUnavailable
from soma_cli.core.ports import Assigned, Consumer, PositionMismatch, Revoked, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers import lag, loop
from soma_cli.core.workers.loop import Status, Worker
from soma_cli.core.workers.observation import NoObserver
from soma_cli.core.workers.projection import Behind, PoisonStorm, Projection, Tally
from soma_cli.core.workers.rate import Rate
from soma_cli.core.workers.source import Limits, Source
from soma_cli.core.workers.together import run_together

SETTINGS = WorkerSettings(batch_size=4, poll_interval_s=0.005, backoff_initial_s=0.01, backoff_max_s=0.02)
GROUP = "test"


class Recorder:
    """A projection that keeps the offsets it was given and fails as its list of failures says, in order."""

    def __init__(self, name: str = "recorder", failures: Sequence[Exception] = ()) -> None:
        self.name = name
        self.seen: list[int] = []
        self.stored = 0
        self.failures = list(failures)
        self.before: Callable[[int], None] = lambda end: None

    def positions(self) -> dict[int, int]:
        return {0: self.stored}

    def process(self, runs: Sequence[Run]) -> Tally:
        [(_, start, end, records)] = runs
        self.before(end)
        if self.failures:
            raise self.failures.pop(0)
        assert [record.offset for record in records] == list(range(start, end))
        fresh = [record.offset for record in records if record.offset >= self.stored]
        self.seen += fresh
        self.stored = max(self.stored, end)
        return Tally(read=len(records), applied=len(fresh), redelivered=len(records) - len(fresh))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    made = SqliteEventLog(open_data_folder(tmp_path / "data"), poll_interval_s=0.005)
    yield made
    made.close()


def fill(log: SqliteEventLog, count: int) -> None:
    log.append([NewRecord(EVENTS_TOPIC, b"k", b"v")] * count)


def worker(
    log: SqliteEventLog,
    projection: Projection,
    report: Callable[[Status], None] = lambda status: None,
    settings: WorkerSettings = SETTINGS,
    **limits: object,
) -> Worker:
    limits = limits or {"until_end": True}
    group = GROUP if projection.name == "recorder" else f"{GROUP}-{projection.name}"
    source = Source(EVENTS_TOPIC, lambda start, revoked: log.consumer(group, EVENTS_TOPIC, start, revoked))
    return Worker(log, projection, source, settings, Limits(**limits), report)  # type: ignore[arg-type]


def test_it_starts_at_the_stored_position_and_stops_at_the_end_of_the_start(log: SqliteEventLog) -> None:
    fill(log, 10)
    recorder = Recorder()
    recorder.stored = 3
    recorder.before = lambda end: fill(log, 1)
    done = worker(log, recorder).run()
    assert recorder.seen[:7] == list(range(3, 10))
    assert recorder.seen[-1] < 14, "it went on with what came after the start"
    assert done.tally.applied == len(recorder.seen)
    assert done.state == "stopped"


def test_an_empty_log_is_done_at_once(log: SqliteEventLog) -> None:
    run = worker(log, Recorder())
    assert run.run().tally == Tally()
    assert run.result(0.5).last_positions == {}


@pytest.mark.parametrize("limit", [1, 4, 6])
def test_max_events_is_exact(log: SqliteEventLog, limit: int) -> None:
    fill(log, 10)
    recorder = Recorder()
    run = worker(log, recorder, max_events=limit)
    assert run.run().tally.read == limit
    assert recorder.seen == list(range(limit))
    assert run.result(0.5).last_positions == {"memory.events/0": limit - 1}
    assert log.committed(GROUP, EVENTS_TOPIC)[0].offset == limit


def test_from_reads_again_but_never_leaves_anything_out(log: SqliteEventLog) -> None:
    fill(log, 10)
    recorder = Recorder()
    recorder.stored = 6
    done = worker(log, recorder, until_end=True, start={0: 2}).run()
    assert (done.tally.read, done.tally.redelivered, done.tally.applied) == (8, 4, 4)
    again = Recorder()
    again.stored = 6
    assert worker(log, again, until_end=True, start={0: 9}).run().tally.read == 4


class Late:
    """A member of a group that gets its partitions with its first poll, as those of brokers do."""

    def __init__(self, join: Callable[[], Consumer]) -> None:
        self._join = join
        self._consumer: Consumer | None = None

    def poll(self, limit: int, timeout_s: float) -> list[Run]:
        self._consumer = self._consumer or self._join()
        return self._consumer.poll(limit, timeout_s)

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)


def test_from_reads_again_what_it_had_passed_also_where_partitions_come_late(log: SqliteEventLog) -> None:
    fill(log, 6)
    recorder = Recorder()
    recorder.stored = 6
    run = worker(log, recorder, until_end=True, start={0: 2})
    join = run._source.consumer

    def late(start: Assigned, revoked: Revoked) -> Consumer:
        return cast(Consumer, Late(lambda: join(start, revoked)))

    run._source = replace(run._source, consumer=late)
    done = run.run()
    assert (done.tally.read, done.tally.redelivered) == (4, 4)


def test_a_topic_made_anew_stops_it_before_it_reads(log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, 6)
    recorder = Recorder()
    run = worker(log, recorder)
    monkeypatch.setattr(log, "topic_id", lambda topic, anew=False: "another")
    with pytest.raises(LogReplaced, match="made anew while recorder ran"):
        run.run()
    assert recorder.seen == []


def test_a_topic_made_anew_ends_a_worker_that_has_nothing_to_read(
    log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No partition is assigned anew, and nothing fails: only looking shows it."""
    monkeypatch.setattr(loop, "_LOOK_BACK_EVERY_S", 0.0)
    fill(log, 6)
    recorder, known = Recorder(), log.topic_id(EVENTS_TOPIC)

    def made_anew(status: Status) -> None:
        if status.state == "idle":
            monkeypatch.setattr(log, "topic_id", lambda topic, anew=False: "another" if anew else known)

    run = worker(log, recorder, made_anew, until_end=False)
    timer = threading.Timer(20, run.stop.set)
    timer.start()
    with pytest.raises(LogReplaced, match="made anew while recorder ran"):
        run.run()
    timer.cancel()
    assert recorder.seen == list(range(6))


def test_a_group_that_cannot_be_joined_yet_is_tried_again(log: SqliteEventLog) -> None:
    fill(log, 6)
    recorder, failures = Recorder(), [ServiceUnavailable("the brokers are away")] * 2
    run = worker(log, recorder)

    def join(start: Assigned, revoked: Revoked) -> Consumer:
        if failures:
            raise failures.pop()
        return log.consumer(GROUP, EVENTS_TOPIC, start, revoked)

    run._source = replace(run._source, consumer=join)
    run.run()
    assert recorder.seen == list(range(6))


def test_what_is_unavailable_is_tried_again_with_the_same_run(log: SqliteEventLog) -> None:
    fill(log, 6)
    recorder = Recorder(failures=[ServiceUnavailable("the store is away")] * 5)
    said: list[tuple[str, str]] = []
    worker(log, recorder, lambda status: said.append((status.state, status.detail))).run()
    assert recorder.seen == list(range(6))
    retries = [detail for state, detail in said if state == "retrying"]
    assert len(retries) == 5
    assert all("the store is away; next try in" in detail for detail in retries)


class LagSeen(NoObserver):
    """An observer that keeps the lags it was told."""

    def __init__(self) -> None:
        self.lags: list[int] = []

    def lag(
        self, worker: str, partition: int, records: int, oldest_age_s: float | None, topic: str = EVENTS_TOPIC
    ) -> None:
        self.lags.append(records)


@pytest.mark.parametrize("fault", [ServiceUnavailable("the store is away"), Behind("waits for kv")])
def test_its_lag_is_told_while_it_tries_again(
    log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(lag, "_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "WORTH_TELLING_S", 0.0)
    fill(log, 3)
    recorder, observer = Recorder(failures=[fault] * 4), LagSeen()
    recorder.before = lambda end: fill(log, 1)
    source = Source(EVENTS_TOPIC, lambda start, revoked: log.consumer(GROUP, EVENTS_TOPIC, start, revoked))
    Worker(log, recorder, source, SETTINGS, Limits(until_end=True), observer=observer).run()
    assert observer.lags[:4] == [4, 5, 6, 7]


def test_who_is_behind_waits_and_says_for_what(log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "WORTH_TELLING_S", 0.0)
    fill(log, 2)
    recorder = Recorder(failures=[Behind("kv is at 0")] * 3)
    said: list[tuple[str, str]] = []
    worker(log, recorder, lambda status: said.append((status.state, status.detail))).run()
    assert said.count(("waiting", "kv is at 0")) == 3
    assert recorder.seen == [0, 1]


def test_a_moment_behind_is_not_worth_telling(log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "WORTH_TELLING_S", 60.0)
    fill(log, 2)
    said: list[str] = []
    worker(log, Recorder(failures=[Behind("kv is at 0")]), lambda status: said.append(status.state)).run()
    assert "waiting" not in said


def test_a_mismatch_seeks_to_the_stored_position(log: SqliteEventLog) -> None:
    fill(log, 10)
    recorder = Recorder()

    def taken_back(end: int) -> None:
        if end == 8:
            recorder.before = lambda end: None
            recorder.stored = 2
            recorder.seen = recorder.seen[:2]
            raise PositionMismatch("the store was taken back", 0, 2)

    recorder.before = taken_back
    worker(log, recorder).run()
    assert recorder.seen == list(range(10))


def test_a_seek_that_the_log_does_not_answer_is_tried_again(log: SqliteEventLog) -> None:
    fill(log, 10)
    recorder, failures = Recorder(), [ServiceUnavailable("the brokers are away")] * 2
    recorder.failures = [PositionMismatch("the store was taken back", 0, 0)]
    run = worker(log, recorder)

    def join(start: Assigned, revoked: Revoked) -> Consumer:
        consumer = log.consumer(GROUP, EVENTS_TOPIC, start, revoked)
        seek = consumer.seek

        def failing(partition: int, offset: int) -> None:
            if failures:
                raise failures.pop()
            seek(partition, offset)

        consumer.seek = failing  # type: ignore[method-assign]
        return consumer

    run._source = replace(run._source, consumer=join)
    run.run()
    assert failures == []
    assert recorder.seen == list(range(10))


def test_any_other_error_ends_it_and_leaves_the_group(log: SqliteEventLog) -> None:
    fill(log, 10)
    run = worker(log, Recorder(failures=[ConfigurationError("the key is wrong")]))
    with pytest.raises(ConfigurationError):
        run.run()
    assert run.status.state == "stopped"
    assert log.members(GROUP) == 0


def test_a_poison_storm_counts_what_was_done_before_it(log: SqliteEventLog) -> None:
    fill(log, 4)
    storm = PoisonStorm("too many", hint="", details={}, done=Tally(read=3, rejected=3), positions={0: 3})
    run = worker(log, Recorder(failures=[storm]))
    with pytest.raises(PoisonStorm):
        run.run()
    result = run.result(0.1)
    assert (result.read, result.rejected, result.last_positions) == (3, 3, {"memory.events/0": 2})


def test_stop_ends_an_idle_worker_and_one_that_tries_again(log: SqliteEventLog) -> None:
    fill(log, 2)
    slow = replace(SETTINGS, backoff_initial_s=60.0, backoff_max_s=60.0)
    for failures in ((), [ServiceUnavailable("away")] * 1000):
        reached = threading.Event()

        def report(status: Status, reached: threading.Event = reached) -> None:
            if status.state in ("idle", "retrying"):
                reached.set()

        run = worker(log, Recorder(failures=failures), report, slow, until_end=False)
        thread = threading.Thread(target=run.run)
        thread.start()
        assert reached.wait(30)
        assert log.members(GROUP) == 1
        run.stop.set()
        thread.join(30)
        assert not thread.is_alive()
        assert run.status.tally.read == (0 if failures else 2)
        assert log.members(GROUP) == 0


def test_one_that_is_told_to_stop_while_the_log_is_away_does_not_wait_for_it_once_more(
    log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To copy its positions to the group may take as long as the poll that has just failed."""
    monkeypatch.setattr(loop, "_COMMIT_EVERY_S", 3600.0)
    fill(log, 10)
    run = worker(log, Recorder(), until_end=False)
    commits: list[dict[int, int]] = []

    def join(start: Assigned, revoked: Revoked) -> Consumer:
        consumer = log.consumer(GROUP, EVENTS_TOPIC, start, revoked)
        poll = consumer.poll

        def away_after_the_first(limit: int, timeout_s: float) -> list[Run]:
            if run.status.tally.read == 0:
                return poll(limit, timeout_s)
            run.stop.set()
            raise ServiceUnavailable("the brokers are away")

        monkeypatch.setattr(consumer, "poll", away_after_the_first)
        monkeypatch.setattr(consumer, "commit", lambda offsets, rate_per_s=None: commits.append(dict(offsets)))
        return consumer

    run._source = replace(run._source, consumer=join)
    run._committed_at = time.monotonic()
    run.run()
    assert run.status.positions == {0: 4}
    assert commits == []


def test_an_idle_worker_leaves_the_log_alone(log: SqliteEventLog) -> None:
    """A commit takes the write lock and syncs the disk; there is nothing to say twice."""
    commits: list[dict[int, int]] = []
    idle = threading.Event()
    turns = 0

    def report(status: Status) -> None:
        nonlocal turns
        turns += status.state == "idle"
        if turns > 4:
            idle.set()

    log_commit = log.commit

    def counted(group: str, topic: str, offsets: dict[int, int], rate_per_s: float | None) -> None:
        commits.append(offsets)
        log_commit(group, topic, offsets, rate_per_s)

    log.commit = counted  # type: ignore[method-assign, assignment]
    run = worker(log, Recorder(), report, until_end=False)
    thread = threading.Thread(target=run.run)
    thread.start()
    assert idle.wait(30)
    run.stop.set()
    thread.join(30)
    assert commits == [{0: 0}]


def test_together_the_second_passes_nothing_before_the_first(log: SqliteEventLog) -> None:
    fill(log, 40)
    leader, follower = Recorder("leader"), Recorder("follower")
    ahead: list[int] = []
    leader.before = lambda end: time.sleep(0.02)
    follower.before = lambda end: ahead.append(leader.stored - end)
    run_together([worker(log, leader), worker(log, follower)])
    assert leader.seen == follower.seen == list(range(40))
    assert min(ahead) >= 0


def test_together_one_failure_stops_all_and_is_raised(log: SqliteEventLog) -> None:
    fill(log, 10)
    failing = Recorder("leader", failures=[ConfigurationError("the key is wrong")])
    workers = [worker(log, failing, until_end=False), worker(log, Recorder("follower"), until_end=False)]
    with pytest.raises(ConfigurationError):
        run_together(workers)
    assert [run.status.state for run in workers] == ["stopped", "stopped"]


def test_the_rate_covers_the_last_seconds() -> None:
    rate = Rate(window_s=1000.0)
    rate.add(10)
    rate.add(5)
    assert rate.per_s() > 15


def test_a_signal_that_reaches_another_thread_is_handled(log: SqliteEventLog) -> None:
    """The system may hand a signal to any thread, but only the main thread, which waits, runs the handler."""
    run = worker(log, Recorder(), until_end=False)
    handled: list[bool] = []

    def handle(number: int, frame: object) -> None:
        handled.append(not overdue.is_set())
        run.stop.set()

    def send() -> None:
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        if not run.stop.wait(10):
            overdue.set()
            run.stop.set()

    overdue = threading.Event()
    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send)
    try:
        sender.start()
        run_together([run])
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert handled == [True]
