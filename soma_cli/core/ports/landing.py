"""The landing table: what Kafka Connect has written of the events' topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from soma_cli.core.record import Record


class Landing(Protocol):
    """Records of `memory.events` as another program copied them into the store: key, value and append time, no headers.

    A record lands after all that lie before it in its partition, if it lands at all, and may land again at any time.
    """

    def hold(self) -> bool:
        """Whether this is the one that applies what lands; others stand by until it is gone."""
        ...

    def schema(self) -> str:
        """Where the table lies: the sink takes the first of its name that it finds in the database, unless told."""
        ...

    def landed(self, topic_id: str, positions: Mapping[int, int], limit: int) -> dict[int, list[Record]]:
        """By partition, in offset order, what is there from each position on: up to `limit` in all, those of the first
        partitions first, and fewer where they are large. Only what was landed of the topic's incarnation `topic_id`."""
        ...

    def clear(self, positions: Mapping[int, int]) -> None:
        """Drop what lies before the positions, by partition."""
        ...

    def waiting(self, topic_id: str, positions: Mapping[int, int]) -> tuple[int, int | None]:
        """How many records are there from the positions on, and the instant when the oldest of them landed."""
        ...

    def close(self) -> None: ...
