"""The loop of every worker: take what is there, process it, remember how far, until told to stop.

The projection's stored position is the truth: reading starts there, and the group's committed offset is only a copy
for tools, written now and then. Which error is raised decides what happens: ServiceUnavailable is tried again for as
long as it takes, Behind waits, PositionMismatch seeks, everything else ends the worker.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from typing import Literal, TypeVar

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import EventLog, PositionMismatch
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.results import ConsumeResult
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers.catch_up import check_in_range, ends_of
from soma_cli.core.workers.projection import Behind, PoisonStorm, Projection, Tally

_POLL_S = 0.5
_COMMIT_EVERY_S = 1.0
_LEADER_POLL_S = 0.01
_JOIN_S = 0.1

T = TypeVar("T")
State = Literal["starting", "standby", "running", "idle", "waiting", "retrying", "stopped"]


@dataclass(slots=True)
class Status:
    """What a worker does now. `detail` says what it waits for, or why it tries again."""

    worker: str
    state: State = "starting"
    detail: str = ""
    tally: Tally = field(default_factory=Tally)
    positions: dict[int, int] = field(default_factory=dict)
    rate_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop by itself: at the end that the log had at the start, after so many records, or never.

    `start` re-reads from an earlier offset than the stored position, for each partition.
    """

    until_end: bool = False
    max_events: int | None = None
    start: int | None = None


class Worker:
    """One run of the loop. `stop` may be set from a signal handler or another thread."""

    def __init__(
        self,
        log: EventLog,
        projection: Projection,
        group: str,
        settings: WorkerSettings,
        limits: Limits | None = None,
        report: Callable[[Status], None] = lambda status: None,
    ) -> None:
        self.stop = threading.Event()
        self.status = Status(projection.name)
        self._log = log
        self._projection = projection
        self._group = group
        self._settings = settings
        self._limits = limits or Limits()
        self._report = report
        self._expected: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._committed_at = 0.0
        self._rate = Rate()
        self._leader: Worker | None = None

    def follow(self, leader: Worker) -> None:
        """Process nothing that the leader, while it runs, has not passed: so its counts tell what it did."""
        self._leader = leader

    def run(self) -> Status:
        """Work until stopped, done, or broken. Returns the final status; raises what ended it otherwise."""
        self._consumer = self._log.consumer(self._group, EVENTS_TOPIC, self._start)
        ends = ends_of(self._log) if self._limits.until_end else {}
        try:
            while not self.stop.is_set() and not self._is_done(ends):
                self._turn()
            self._commit()
        finally:
            self._consumer.close()
            self._say("stopped")
        return self.status

    def result(self, elapsed_s: float) -> ConsumeResult:
        """The summary of the run. `last_positions` are the offsets of the last records passed."""
        last = {
            f"{EVENTS_TOPIC}/{partition}": offset - 1 for partition, offset in self.status.positions.items() if offset
        }
        return ConsumeResult(self.status.worker, **asdict(self.status.tally), last_positions=last, elapsed_s=elapsed_s)

    def _start(self, partition: int) -> int:
        stored = self._retrying(lambda: self._projection.positions().get(partition, 0)) or 0
        check_in_range(self._log, self._projection.name, partition, stored)
        start = stored if self._limits.start is None else min(self._limits.start, stored)
        self.status.positions[partition] = start
        self._expected[partition] = start
        return start

    def _is_done(self, ends: dict[int, int]) -> bool:
        limit = self._limits.max_events
        if limit is not None and self.status.tally.read >= limit:
            return True
        return self._limits.until_end and all(
            self._expected.get(partition, 0) >= end for partition, end in ends.items()
        )

    def _turn(self) -> None:
        limit = self._settings.batch_size
        if self._limits.max_events is not None:
            limit = min(limit, self._limits.max_events - self.status.tally.read)
        records = self._retrying(lambda: self._consumer.poll(limit, _POLL_S))
        if not records:
            self._rate.add(0)
            if self._expected:
                self._say("idle")
                self._commit()
            else:
                self._say("standby", "another worker of the group has the log")
            return
        for partition, run in groupby(records, key=lambda record: record.partition):
            self._process(partition, list(run))
        if time.monotonic() - self._committed_at > _COMMIT_EVERY_S:
            self._commit()

    def _process(self, partition: int, run: list[Record]) -> None:
        start, end = self._expected[partition], run[-1].offset + 1
        if not self._may_pass(partition, end) or self._passed_elsewhere(partition, end):
            return
        try:
            tally = self._retrying(lambda: self._projection.process(partition, start, end, run))
        except PositionMismatch as mismatch:
            self._seek(partition, mismatch.stored)
            return
        except PoisonStorm as storm:
            self._count(partition, storm.position, storm.done)
            raise
        if tally is not None:
            self._count(partition, end, tally)
            self._say("running")

    def _passed_elsewhere(self, partition: int, end: int) -> bool:
        """Leave out what readers or a rebuild have passed meanwhile, unless it was asked for again."""
        if self._limits.start is not None:
            return False
        stored = self._retrying(lambda: self._projection.positions().get(partition, 0)) or 0
        if stored <= end:
            return False
        self._seek(partition, stored)
        return True

    def _count(self, partition: int, end: int, tally: Tally) -> None:
        self._expected[partition] = self.status.positions[partition] = end
        self.status.tally.add(tally)
        self._rate.add(tally.read)

    def _may_pass(self, partition: int, end: int) -> bool:
        """True once the leader has passed `end`, or is not at work; False where this worker is told to stop first."""
        leader = self._leader
        while leader is not None and leader.status.state not in ("stopped", "standby"):
            if leader.status.positions.get(partition, 0) >= end:
                break
            if self.stop.wait(_LEADER_POLL_S):
                return False
        return True

    def _seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(partition, offset)
        self._expected[partition] = self.status.positions[partition] = offset

    def _retrying(self, action: Callable[[], T]) -> T | None:
        """The action's result; None where the worker was told to stop while the action kept failing."""
        attempt = 0
        while True:
            try:
                return action()
            except Behind as behind:
                self._say("waiting", behind.message)
                pause = self._settings.poll_interval_s
            except ServiceUnavailable as fault:
                pause = self._pause(attempt)
                attempt += 1
                self._say("retrying", f"{fault.message}; next try in {pause:.1f} s")
            if self.stop.wait(pause):
                return None

    def _pause(self, attempt: int) -> float:
        """Exponential, capped, with full jitter above half, so that workers do not come back all at once."""
        ceiling = min(self._settings.backoff_max_s, self._settings.backoff_initial_s * 2.0 ** min(attempt, 30))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def _commit(self) -> None:
        """Copy the positions to the group, if they moved: an idle worker writes nothing."""
        self._committed_at = time.monotonic()
        offsets = dict(self._expected)
        if offsets != self._committed:
            self._retrying(lambda: self._consumer.commit(offsets, self._rate.per_s()))
            self._committed = offsets

    def _say(self, state: State, detail: str = "") -> None:
        self.status.state = state
        self.status.detail = detail
        self.status.rate_per_s = self._rate.per_s()
        self._report(self.status)


class Rate:
    """Records a second over the last few seconds."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: list[tuple[float, int]] = []
        self._began = time.monotonic()

    def add(self, records: int) -> None:
        now = time.monotonic()
        self._samples = [sample for sample in self._samples if sample[0] > now - self._window_s]
        self._samples.append((now, records))

    def per_s(self) -> float:
        elapsed = min(time.monotonic() - self._began, self._window_s)
        return sum(records for _, records in self._samples) / elapsed if elapsed > 0 else 0.0


def run_together(workers: Sequence[Worker]) -> None:
    """Run several workers in threads, each following the one before it; the first failure stops all of them.

    Raises that failure.
    """
    failures: list[BaseException] = []
    for leader, follower in pairwise(workers):
        follower.follow(leader)

    def guarded(worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failures.append(error)
            for other in workers:
                other.stop.set()

    threads = [threading.Thread(target=guarded, args=(worker,), name=worker.status.worker) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        # Not one long wait: a signal that the system hands to another thread does not end it, and only the main thread
        # runs the handler.
        while thread.is_alive():
            thread.join(_JOIN_S)
    if failures:
        raise failures[0]
