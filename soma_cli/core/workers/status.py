"""What a worker does now, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from soma_cli.core.workers.projection import Tally

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
