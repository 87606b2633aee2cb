"""What a worker is given to read, and when it is to stop by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from soma_cli.core.ports import Assigned, Consumer, Revoked


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop by itself: at the end that the topic had at the start, after so many records, or never.

    `start` re-reads each partition from an earlier offset than its stored position.
    """

    until_end: bool = False
    max_events: int | None = None
    start: dict[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a worker reads. `consumer` joins the group; `copies`: what is published carries the offsets with it, and the
    group's offsets are the stored position. `ended` is told when nothing more will be processed."""

    topic: str
    consumer: Callable[[Assigned, Revoked], Consumer]
    copies: bool = False
    ended: Callable[[], None] = lambda: None
