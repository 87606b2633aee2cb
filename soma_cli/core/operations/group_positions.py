"""Where workers go on whose position is their group's committed offset, in topics that keep records for some days."""

from __future__ import annotations

import logging

from soma_cli.core.ports import EventLog

logger = logging.getLogger("soma")


class GroupPositions:
    """By partition, the committed offset; the beginning where there is none.

    The beginning also where the topic's retention has taken the records at the committed offset. That is told once for
    each partition, because nobody serves those requests any more.
    """

    def __init__(self, log: EventLog, group: str, topic: str) -> None:
        self._log = log
        self._group = group
        self._topic = topic
        self._told: dict[int, int] = {}

    def __call__(self) -> dict[int, int]:
        committed = self._log.committed(self._group, self._topic)
        positions = {}
        for partition, bounds in self._log.bounds(self._topic).items():
            positions[partition] = bounds.beginning
            if partition in committed and (offset := committed[partition].offset) >= bounds.beginning:
                positions[partition] = offset
            elif partition in committed:
                self._tell_gone(partition, offset, bounds.beginning)
        return positions

    def _tell_gone(self, partition: int, offset: int, beginning: int) -> None:
        if self._told.get(partition) == offset:
            return
        self._told[partition] = offset
        logger.warning(
            "%s/%d begins at %d, but %s has come to offset %d only: what lay between is older than the topic keeps "
            "records; memories that have got no vector for that reason get it when `soma consume vector --from "
            "beginning` asks for all again",
            self._topic,
            partition,
            beginning,
            self._group,
            offset,
        )
