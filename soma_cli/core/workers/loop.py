"""The loop of every worker: take what is there, process it, remember how far, until told to stop.

The projection's stored position is the truth: reading starts there, and the group's committed offset is only a copy
for tools, written now and then and when partitions go to another member. Which error is raised decides what happens:
ServiceUnavailable is tried again for as long as it takes, Behind waits, PositionMismatch seeks, Fenced goes on with the
partitions that are left, everything else ends the worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeVar

from soma_cli.core.errors import LogReplaced, ServiceUnavailable
from soma_cli.core.eventing.audit import maybe_compacted_end, runs_of
from soma_cli.core.instants import MICROSECONDS, now_us
from soma_cli.core.ports import EventLog, Fenced, PositionMismatch, Run
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.results import ConsumeResult
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers.catch_up import check_in_range
from soma_cli.core.workers.compacted import warn_of_unaudited
from soma_cli.core.workers.lag import LagTeller
from soma_cli.core.workers.membership import KeptAlive
from soma_cli.core.workers.observation import UNOBSERVED, Observer
from soma_cli.core.workers.projection import Behind, PoisonStorm, Projection, Tally, ends_of_runs
from soma_cli.core.workers.rate import Rate, pause_s
from soma_cli.core.workers.source import Limits, Source

_POLL_S = 0.5
_COMMIT_EVERY_S = 1.0
_LOOK_BACK_EVERY_S = 5.0
WORTH_TELLING_S = 1.0
"""A projection that follows another is a moment behind it all the time."""
_LEADER_POLL_S = 0.01

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


class Worker:
    """One run of the loop. `stop` may be set from a signal handler or another thread."""

    def __init__(
        self,
        log: EventLog,
        projection: Projection,
        source: Source,
        settings: WorkerSettings,
        limits: Limits | None = None,
        report: Callable[[Status], None] = lambda status: None,
        observer: Observer | None = None,
    ) -> None:
        self.stop = threading.Event()
        self.status = Status(projection.name)
        self._log = log
        self._projection = projection
        self._source = source
        self._settings = settings
        self._limits = limits or Limits()
        self._report = report
        self._observer = observer or UNOBSERVED
        self._committed: dict[int, int] = {}
        self._committed_at = 0.0
        self._lag = LagTeller(log, self._observer, projection.name, source.topic)
        self._looked_back_at = time.monotonic()
        self._rate = Rate()
        self._leader: Worker | None = None
        self._log_is_away = False
        self._unchecked: set[int] = set()
        self._topic_id = log.topic_id(source.topic)

    def follow(self, leader: Worker) -> None:
        """Process nothing that the leader, while it runs, has not passed: so its counts tell what it did."""
        self._leader = leader

    def run(self) -> Status:
        """Work until stopped, done, or broken. Returns the final status; raises what ended it otherwise."""
        ends = self._retrying(self._ends) or {}
        if not self._retrying(self._joined):
            self._say("stopped")
            return self.status
        try:
            while not self.stop.is_set() and not self._is_done(ends):
                self._turn()
            if not self._log_is_away:  # the group's copy of the positions is not worth waiting for it once more
                self._commit()
        finally:
            self._leave()
            self._say("stopped")
        return self.status

    def result(self, elapsed_s: float) -> ConsumeResult:
        """The summary of the run. `last_positions` are the offsets of the last records passed."""
        topic = self._source.topic
        last = {f"{topic}/{partition}": offset - 1 for partition, offset in self.status.positions.items() if offset}
        return ConsumeResult(self.status.worker, **asdict(self.status.tally), last_positions=last, elapsed_s=elapsed_s)

    # --- the group ---

    def _joined(self) -> bool:
        self._consumer = self._source.consumer(self._start, self._revoked)
        self._alive = KeptAlive(self._consumer)
        return True

    def _leave(self) -> None:
        self._source.ended()
        self._alive.close()
        self._consumer.close()

    def _start(self, partition: int) -> int:
        """Where an assigned partition is to be read from."""
        self._check_same_topic()
        stored = self._projection.positions().get(partition, 0)
        if self._source.topic == EVENTS_TOPIC:
            check_in_range(self._log, self._projection.name, partition, stored)
        start = stored if self._limits.start is None else min(self._limits.start.get(partition, stored), stored)
        self.status.positions[partition] = start
        self._unchecked.add(partition)
        return start

    def _check_same_topic(self, *, anew: bool = False) -> None:
        """Raises LogReplaced where the stored positions say nothing about the topic that is there now."""
        topic = self._source.topic
        if (found := self._log.topic_id(topic, anew=anew)) != self._topic_id:
            self._forget(frozenset(self.status.positions))  # the group is not told offsets of another topic
            raise LogReplaced(
                f"{topic} was made anew while {self._projection.name} ran: its topic id was {self._topic_id}, "
                f"and is {found} now",
                hint="`soma doctor` tells whether it is the right log; then start the worker again",
                details={"topic_id": found},
            )

    def _revoked(self, partitions: frozenset[int]) -> None:
        """The group hears how far they are while it still takes our word for it."""
        offsets = {number: at for number, at in dict(self.status.positions).items() if number in partitions}
        if offsets and not self._source.copies:
            with suppress(ServiceUnavailable):
                self._consumer.commit(offsets, self._rate.per_s())
        self._forget(partitions)

    def _forget(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self.status.positions.pop(partition, None)
            self._committed.pop(partition, None)
            self._observer.unassigned(self.status.worker, partition, self._source.topic)

    def _ends(self) -> dict[int, int]:
        if not self._limits.until_end:
            return {}
        return {partition: bounds.end for partition, bounds in self._log.bounds(self._source.topic).items()}

    def _is_done(self, ends: dict[int, int]) -> bool:
        limit = self._limits.max_events
        if limit is not None and self.status.tally.read >= limit:
            return True
        return self._limits.until_end and self._has_passed(ends)

    def _has_passed(self, ends: dict[int, int]) -> bool:
        """Partitions of other members count when these have passed them."""
        here = dict(self.status.positions)  # the thread that keeps the group may take some away meanwhile
        if any(here[partition] < end for partition, end in ends.items() if partition in here):
            return False
        if self._limits.start is not None and not here:
            return False  # what was passed before is to be read again: first it must be known whose the partitions are
        elsewhere = {partition: end for partition, end in ends.items() if partition not in here and end}
        if not elsewhere:
            return True
        stored = self._retrying(self._projection.positions) or {}
        return all(stored.get(partition, 0) >= end for partition, end in elsewhere.items())

    # --- a turn ---

    def _turn(self) -> None:
        self._observer.turn(self.status.worker)
        polled = self._retrying(self._poll)
        if polled is None:
            self._log_is_away = True
            return
        self._forget(frozenset(self.status.positions) - self._consumer.assigned())
        for run in polled:  # what a copier goes on with from the group's own offset was not asked of `_start`
            self.status.positions.setdefault(run.partition, run.start)
        if self._source.copies and (untold := self._consumer.assigned() - self.status.positions.keys()):
            stored = self._retrying(self._projection.positions) or {}
            self.status.positions.update({number: stored[number] for number in untold if number in stored})
        runs = self._catch_up_compacted(polled)
        if runs:
            self._process(runs)
        else:
            self._rest()
        if time.monotonic() - self._looked_back_at > _LOOK_BACK_EVERY_S:
            self._look_back()
        if time.monotonic() - self._committed_at > _COMMIT_EVERY_S:
            self._commit()
        self._lag.tell(dict(self.status.positions))

    def _look_back(self) -> None:
        """A store that was put back is caught up also where no new event shows that it is behind."""
        self._looked_back_at = time.monotonic()
        if not self._log.follows_itself:
            self._committed = {}  # a group that moves refuses commits without a word: what it refused is made again
        self._retrying(lambda: self._check_same_topic(anew=True))
        if self._source.copies or self._source.topic != EVENTS_TOPIC:  # what a group keeps is behind all the time
            return
        stored = self._retrying(self._projection.positions)
        for partition, position in dict(self.status.positions).items():
            if stored is not None and (held := stored.get(partition, 0)) < position:
                self._seek(partition, held)
                self._unchecked.add(partition)

    def _poll(self) -> list[Run]:
        limit = self._settings.batch_size
        if self._limits.max_events is not None:
            limit = min(limit, self._limits.max_events - self.status.tally.read)
        with self._alive.polling():
            return self._consumer.poll(limit, _POLL_S)

    def _rest(self) -> None:
        self._rate.add(0)
        if self.status.positions:
            self._say("idle")
        else:
            self._say("standby", "waits for partitions of its group")

    def _catch_up_compacted(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Where compaction may have taken something, what is missing comes from the audit first: of partitions just
        assigned, whose stored position may be old, and of those whose run has gaps. Returns the runs of the others."""
        unchecked, self._unchecked = self._unchecked & set(self.status.positions), set()
        if self._source.topic != EVENTS_TOPIC or self._source.copies:
            return runs
        suspect = unchecked | {run.partition for run in runs if run.end - run.start > len(run.records)}
        behind = {partition for partition in suspect if self._from_audit(partition)}
        return [run for run in runs if run.partition not in behind]

    def _from_audit(self, partition: int) -> bool:
        """Whether its run is not to be processed: the partition was caught up from the audit, and is now read from
        where that led; or it was taken away meanwhile; or this worker was told to stop before it could tell."""
        end = self._retrying(lambda: maybe_compacted_end(self._log, partition))
        start = self.status.positions.get(partition)
        if start is None or end is None or start >= end:
            return start is None or end is None
        self._retrying(lambda: warn_of_unaudited(self._log, self.status.worker, partition, start, end))
        self._retrying(lambda: self._pass_audited(partition, end))
        if (reached := self.status.positions.get(partition)) is not None:
            self._seek(partition, reached)
        return True

    def _pass_audited(self, partition: int, end: int) -> None:
        """Called again after the log was away, it goes on from where it came."""
        start = self.status.positions.get(partition, end)
        for run in runs_of(self._log, partition, start, end, self._settings.batch_size):
            self._process([run])
            if self.stop.is_set() or partition not in self.status.positions:
                break

    def _process(self, runs: Sequence[Run]) -> None:
        if not self._may_pass(runs) or self._passed_elsewhere(runs):
            return
        began = time.monotonic()
        try:
            tally = self._retrying(lambda: self._projection.process(runs))
        except PositionMismatch as mismatch:
            self._reread(runs, mismatch)
            return
        except Fenced as fenced:
            self._say("waiting", fenced.message)
            self._forget(frozenset(self.status.positions))
            return
        except PoisonStorm as storm:
            self._count(storm.positions, storm.done)
            raise
        if tally is None:  # told to stop while it kept failing: the next worker does it
            for run in runs:
                self._seek(run.partition, run.start)
            return
        self._count(ends_of_runs(runs), tally)
        self._observe(runs, tally, time.monotonic() - began)
        self._say("running")

    def _reread(self, runs: Sequence[Run], mismatch: PositionMismatch) -> None:
        """One partition goes on where its stored position is; the others again from where they were."""
        for run in runs:
            self._seek(run.partition, mismatch.stored if run.partition == mismatch.partition else run.start)

    def _observe(self, runs: Sequence[Run], tally: Tally, seconds: float) -> None:
        now = now_us()
        waited = [(now - record.appended_at) / MICROSECONDS for run in runs for record in run.records]
        self._observer.batch(self.status.worker, tally, seconds, [] if tally.redelivered else waited)
        if tally.rejected:
            self._observer.dead_letters(self.status.worker, tally.rejected)

    def _passed_elsewhere(self, runs: Sequence[Run]) -> bool:
        """Leave out what readers or a rebuild have passed meanwhile, unless it was asked for again."""
        if not self._log.follows_itself or self._limits.start is not None:
            return False
        stored = self._retrying(self._projection.positions) or {}
        ahead = [run for run in runs if stored.get(run.partition, 0) > run.end]
        for run in ahead:
            self._seek(run.partition, stored[run.partition])
        return bool(ahead)

    def _count(self, positions: Mapping[int, int], tally: Tally) -> None:
        for partition, end in positions.items():
            if partition in self.status.positions:
                self.status.positions[partition] = end
        self.status.tally.add(tally)
        self._rate.add(tally.read)

    def _may_pass(self, runs: Sequence[Run]) -> bool:
        """True once the leader has passed them, or is not at work; False where this worker is told to stop first."""
        leader = self._leader
        while leader is not None and leader.status.state not in ("stopped", "standby"):
            if all(leader.status.positions.get(run.partition, 0) >= run.end for run in runs):
                break
            if self.stop.wait(_LEADER_POLL_S):
                return False
        return True

    def _seek(self, partition: int, offset: int) -> None:
        def seek() -> None:
            with self._alive.polling():
                self._consumer.seek(partition, offset)

        if partition in self.status.positions:
            self._retrying(seek)
        if partition in self.status.positions:
            self.status.positions[partition] = offset

    def _retrying(self, action: Callable[[], T]) -> T | None:
        """The action's result; None where the worker was told to stop while the action kept failing."""
        attempt, began = 0, time.monotonic()
        while True:
            try:
                return action()
            except Behind as behind:
                if time.monotonic() - began > WORTH_TELLING_S:
                    self._say("waiting", behind.message)
                    self._lag.tell(dict(self.status.positions))
                pause = self._settings.poll_interval_s
            except ServiceUnavailable as fault:
                pause = pause_s(attempt, self._settings)
                attempt += 1
                self._observer.retry(self.status.worker, fault.code)
                self._say("retrying", f"{fault.message}; next try in {pause:.1f} s")
                self._lag.tell(dict(self.status.positions))
            if self.stop.wait(pause):
                return None

    def _commit(self) -> None:
        """Copy the positions to the group, if they moved: an idle worker writes nothing."""
        self._committed_at = time.monotonic()
        offsets = dict(self.status.positions)
        if offsets != self._committed and not self._source.copies:
            with self._alive.polling():
                self._retrying(lambda: self._consumer.commit(offsets, self._rate.per_s()))
            self._committed = offsets

    def _say(self, state: State, detail: str = "") -> None:
        self.status.state = state
        self.status.detail = detail
        self.status.rate_per_s = self._rate.per_s()
        self._observer.state(self.status.worker, state, detail)
        self._report(self.status)
