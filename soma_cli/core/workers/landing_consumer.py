"""What Kafka Connect landed, read as a member of a group reads a topic: so that the loop and kv do with it what they do
with the log itself.

The landing table is a copy of the log, and the log has the last word. Connect writes each partition in order; so where
an offset is missing before one that is there, Connect has left it out for good, and the run is read from the log
instead: there may be a record (Connect sent it to its dead letters), or none (the marker of a transaction, something
compacted away). At the end of a partition the group of Connect's own consumer tells what it has passed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.eventing.audit import runs_of
from soma_cli.core.ports import Assigned, EventLog, Revoked, Run
from soma_cli.core.ports.landing import Landing
from soma_cli.core.record import EVENTS_TOPIC, Record

logger = logging.getLogger("soma")

_LOOK_EVERY_S = 1.0
_CLEAR_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`stall_s`: how long nothing may land of what the log has before it is read from there; `poll_interval_s` lies
    between two looks at a table with nothing new; `keeps`: rows stay when they are applied."""

    stall_s: float
    poll_interval_s: float
    keeps: bool = False


class LandingConsumer:
    """`Consumer` over the landing table. One process at a time has all partitions, the others stand by.

    `prepare` makes of a run what kv takes, or None where not all of its records are events: then it is read from the
    log, which has the headers, too, that dead letters carry on. `group` is that of Connect's consumer.
    """

    def __init__(
        self,
        landing: Landing,
        log: EventLog,
        group: str,
        pace: Pace,
        prepare: Callable[[Run], Run | None],
        start: Assigned,
        revoked: Revoked,
    ) -> None:
        self._landing, self._log, self._group, self._pace = landing, log, group, pace
        self._prepare, self._start, self._revoked = prepare, start, revoked
        self._topic_id = log.topic_id(EVENTS_TOPIC)
        self._next: dict[int, int] = {}
        self._behind: dict[int, float] = {}  # since when the log has more of a partition, and nothing has landed
        self._passed: dict[int, int] = {}  # by Connect, when it was last asked
        self._applied: Mapping[int, int] = {}
        self._stalled: set[int] = set()
        self._more_in_log = False
        self._may_ask = True
        self._looked_at = self._cleared_at = time.monotonic()
        self._closed = threading.Event()

    def poll(self, limit: int, timeout_s: float) -> list[Run]:
        deadline = time.monotonic() + timeout_s
        if not self._has_partitions():
            self._closed.wait(timeout_s)
            return []
        while True:
            runs = self._runs(limit)
            if runs or time.monotonic() >= deadline:
                return runs
            self._closed.wait(self._pace.poll_interval_s)

    def keep(self) -> None:
        """The hold lasts as long as the connection does."""

    def assigned(self) -> frozenset[int]:
        return frozenset(self._next)

    def seek(self, partition: int, offset: int) -> None:
        if partition in self._next:
            self._move(partition, offset)

    def commit(self, offsets: Mapping[int, int], rate_per_s: float | None = None) -> None:
        """What is applied need not be kept."""
        self._applied = dict(offsets)
        if not self._pace.keeps:
            with suppress(ServiceUnavailable):  # another look clears them
                self._landing.clear(offsets)

    def close(self) -> None:
        self._closed.set()
        self._landing.close()

    # --- whose turn it is ---

    def _has_partitions(self) -> bool:
        if not self._landing.hold():
            if self._next:
                self._revoked(frozenset(self._next))
                self._next.clear()
            return False
        if not self._next:
            begun = {partition: self._start(partition) for partition in self._log.bounds(EVENTS_TOPIC)}
            for partition, offset in begun.items():
                self._move(partition, offset)
        return True

    def _move(self, partition: int, offset: int) -> None:
        self._next[partition] = offset
        self._behind.pop(partition, None)

    # --- what is there ---

    def _runs(self, limit: int) -> list[Run]:
        landed = self._landing.landed(self._topic_id, self._next, limit)
        self._stalled -= landed.keys()
        looks = [partial(self._run, partition, records, limit) for partition, records in landed.items()]
        if sum(map(len, landed.values())) < limit:
            looks.append(partial(self._missing, frozenset(self._next) - landed.keys(), limit))
        runs = self._seen(looks)
        for run in runs:
            self._move(run.partition, run.end)
        self._take_turns()
        return runs

    def _seen(self, looks: Sequence[Callable[[], list[Run]]]) -> list[Run]:
        """What has landed needs no brokers. Raises ServiceUnavailable where they are away and that leaves nothing."""
        runs: list[Run] = []
        away: ServiceUnavailable | None = None
        for look in looks:
            try:
                runs += look()
            except ServiceUnavailable as error:
                away = error
        if away is not None:
            if not runs:
                raise away
            self._looked_at = time.monotonic()  # asking them again takes as long again
        return runs

    def _take_turns(self) -> None:
        """So that a partition with more than a batch does not keep the others waiting."""
        first = next(iter(self._next))
        self._next[first] = self._next.pop(first)

    def _run(self, partition: int, records: Sequence[Record], limit: int) -> list[Run]:
        start, end = self._next[partition], records[-1].offset + 1
        prepared = None
        if end - start == len(records):
            prepared = self._prepare(Run(partition, start, end, records))
        return [self._from_log(partition, end, limit) if prepared is None else prepared]

    def _from_log(self, partition: int, end: int, limit: int) -> Run:
        return next(runs_of(self._log, partition, self._next[partition], end, limit))

    # --- what is not there ---

    def _missing(self, quiet: frozenset[int], limit: int) -> list[Run]:
        """Of partitions of which nothing is there: what Connect has passed all the same, or does not land any more."""
        now = time.monotonic()
        due = now - self._looked_at >= _LOOK_EVERY_S
        if not (due or self._more_in_log):
            return []
        bounds = self._log.bounds(EVENTS_TOPIC)
        behind = {number: bounds[number].end for number in sorted(quiet) if self._next[number] < bounds[number].end}
        self._behind = {partition: self._behind.get(partition, now) for partition in behind}
        self._stall({partition for partition in behind if now - self._behind[partition] >= self._pace.stall_s})
        stalled = self._stalled & behind.keys()
        runs = [self._from_log(partition, behind[partition], limit) for partition in sorted(stalled)]
        # At its end the log is looked at now and then only, so that what lands again is seen first.
        self._more_in_log = any(run.end < behind[run.partition] for run in runs)
        if due:
            left_out = (self._left_out(partition, end, now, limit) for partition, end in behind.items())
            runs += [run for run in left_out if run is not None]
            self._look_around(now)
        return runs

    def _stall(self, partitions: set[int]) -> None:
        if new := partitions - self._stalled:
            logger.warning(
                "for %.0f s nothing has landed of %d partition(s) that hold more; reading the log instead; "
                "`soma connect status` tells what is wrong", self._pace.stall_s, len(new),
            )  # fmt: skip
        self._stalled |= partitions

    def _left_out(self, partition: int, end: int, now: float, limit: int) -> Run | None:
        """What Connect had passed a moment ago was there to be seen by now, if it landed at all."""
        start = self._next[partition]
        passed = min(end, self._passed.get(partition, 0))
        if partition in self._stalled:
            return None
        if passed > start:
            return self._from_log(partition, passed, limit)
        waits = now - self._behind[partition] >= _LOOK_EVERY_S
        if waits and next(self._log.scan(EVENTS_TOPIC, partition, start, end), None) is None:
            return Run(partition, start, end, [])
        return None

    def _look_around(self, now: float) -> None:
        self._looked_at = now
        self._passed = self._passed_by_connect()
        if now - self._cleared_at >= _CLEAR_EVERY_S:  # Connect, started again, lands once more what it had landed
            self._cleared_at = now
            self.commit(self._applied)

    def _passed_by_connect(self) -> dict[int, int]:
        """Without the right to ask, `stall_s` passes before the log is read instead."""
        if not self._may_ask:
            return {}
        try:
            return {number: at.offset for number, at in self._log.committed(self._group, EVENTS_TOPIC).items()}
        except ConfigurationError as error:
            if error.code != "not_authorized":
                raise
            self._may_ask = False
            logger.warning("%s; what Connect leaves out is passed after %.0f s", error.message, self._pace.stall_s)
            return {}
