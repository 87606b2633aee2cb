"""The line of several workers: each is there in any width, the worst first, with as much of why as there is room."""

from __future__ import annotations

import pytest

from soma_cli.commands.worker_status import _short, _together
from soma_cli.core.workers.loop import Status
from soma_cli.core.workers.projection import Tally

WHY = "no answer from the brokers; next try in 1 s"
WORKERS = [
    Status("kv", "running", tally=Tally(read=9, rejected=3), positions={0: 9}, rate_per_s=5000),
    Status("vector", "idle"),
    Status("audit", "retrying", WHY),
]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            110,
            f"audit retrying: {WHY} | kv running 5,000/s: 3 rejected | vector idle",
        ),
        (80, "audit retrying: no answer from the brokers; … | kv running 5,000/s | vector idle"),
        (50, "audit retrying | kv running 5,000/s | vector idle"),
    ],
)
def test_each_worker_is_there_and_the_worst_comes_first(width: int, line: str) -> None:
    assert _together(map(_short, WORKERS), width) == line
    assert len(line) <= width
