"""What audit and latest share: a place in the group that publishes and commits in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from soma_cli.core.ports import Assigned, Copier, EventLog, Revoked
from soma_cli.core.record import EVENTS_TOPIC, NewRecord


class CopySource:
    """The group's committed offsets are these workers' stored positions: they move with what was published.

    `first` names the offset of a partition that the group has not committed yet.
    """

    def __init__(self, log: EventLog, group: str, first: Assigned) -> None:
        self._log = log
        self._group = group
        self._first = first
        self._copier: Copier | None = None

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

    def publish(self, records: Sequence[NewRecord], ends: Mapping[int, int]) -> None:
        assert self._copier is not None
        self._copier.publish(records, ends)
