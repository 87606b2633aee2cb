"""What audit and latest share: a place in the group that publishes and commits in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import Assigned, Copier, EventLog, Revoked, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.workers.projection import ends_of_runs

_ALL = 1 << 30

Make = Callable[[Sequence[Run]], Sequence[NewRecord]]


class CopySource:
    """The group's committed offsets are these workers' stored positions: they move with what was published.

    `first` names the offset of a partition that the group has not committed yet.
    """

    def __init__(self, log: EventLog, group: str, first: Assigned) -> None:
        self._log = log
        self._group = group
        self._first = first
        self._copier: Copier | None = None
        self._most = _ALL
        self._uncertain: Sequence[Run] | None = None
        self._forget()

    def join(self, start: Assigned, revoked: Revoked) -> Copier:
        """A new member of the group, which publishes from now on."""
        self._copier = self._log.copier(self._group, EVENTS_TOPIC, start)
        return self._copier

    def positions(self) -> dict[int, int]:
        committed = self._log.committed(self._group, EVENTS_TOPIC)
        return {
            partition: committed[partition].offset if partition in committed else self._first(partition)
            for partition in self._log.bounds(EVENTS_TOPIC)
        }

    def publish(self, runs: Sequence[Run], make: Make) -> int:
        """Publish what `make` makes of the runs, in one transaction; returns how many records that are.

        Where one did not get done in time, in transactions of half as many, and again of half as many, down to one
        record of the log each; with time, more again. Raises what `Copier.publish` raises; after
        ServiceUnavailable the same runs have to be given again, and go on behind what was published of them.
        """
        assert self._copier is not None
        try:
            for part in self._parts(runs):
                self._publish(self._copier, part, make(part))
            published = self._published
        except ServiceUnavailable:
            raise
        except BaseException:
            self._forget()
            raise
        self._forget()
        return published

    def _parts(self, runs: Sequence[Run]) -> Iterator[Sequence[Run]]:
        """First the part of which it is not known whether it was published, just as it was: that call settles it."""
        if self._uncertain is not None:
            yield self._uncertain
        yield from parts(_behind(runs, self._passed), self._most)

    def _publish(self, copier: Copier, part: Sequence[Run], records: Sequence[NewRecord]) -> None:
        self._uncertain = None
        try:
            copier.publish(records, ends_of_runs(part))
        except ServiceUnavailable as error:
            if error.details.get("uncertain"):
                self._uncertain = part
            else:
                self._most = max(1, _size(part) // 2)
            raise
        self._passed |= ends_of_runs(part)
        self._published += len(records)
        self._most = min(self._most + max(1, self._most // 8), _ALL)

    def _forget(self) -> None:
        """What was published of the runs in hand: they are done, or will never be given again."""
        self._passed = dict[int, int]()
        self._published = 0
        self._uncertain = None


def parts(runs: Sequence[Run], most: int) -> Iterator[Sequence[Run]]:
    """The runs together, or each in pieces where they are more than `most` records."""
    if _size(runs) <= most:
        if runs:
            yield runs
        return
    for run in runs:
        start, left = run.start, run.records
        while len(left) > most:
            end = left[most].offset
            yield [Run(run.partition, start, end, left[:most])]
            start, left = end, left[most:]
        yield [Run(run.partition, start, run.end, left)]


def _behind(runs: Sequence[Run], passed: dict[int, int]) -> list[Run]:
    """What is left of the runs behind the offsets that were passed."""
    left = []
    for run in runs:
        start = max(run.start, passed.get(run.partition, 0))
        if start < run.end:
            left.append(Run(run.partition, start, run.end, [item for item in run.records if item.offset >= start]))
    return left


def _size(runs: Sequence[Run]) -> int:
    return sum(len(run.records) for run in runs)
