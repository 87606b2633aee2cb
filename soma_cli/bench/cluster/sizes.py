"""Payloads of 0.2, 1 and 10 KB."""

from __future__ import annotations

from typing import NamedTuple

from soma_cli.bench.comparison import Workload
from soma_cli.bench.workload import events
from soma_cli.core.event import MemoryEvent


class Size(NamedTuple):
    """`share` of the events that were asked for are measured: large ones are fewer."""

    shown: str
    text_bytes: int
    share: float = 1.0

    def count(self, workload: Workload) -> int:
        return max(int(workload.events * self.share), 100)

    def events(self, workload: Workload) -> list[MemoryEvent]:
        return events(self.count(workload), self.text_bytes)


SMALL = Size("0.2 KB", 160)
MIDDLE = Size("1 KB", 960)
LARGE = Size("10 KB", 9_960, 0.2)
