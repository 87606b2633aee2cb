"""Staying in the group while a batch is worked on."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from soma_cli.core.ports import Consumer
from soma_cli.core.workers import membership
from soma_cli.core.workers.membership import KeptAlive


class Failing:
    """A member whose first try to keep its place fails in a way that no port names."""

    def __init__(self) -> None:
        self.tries = 0
        self.twice = threading.Event()

    def keep(self) -> None:
        self.tries += 1
        if self.tries > 1:
            self.twice.set()
            return
        raise RuntimeError("a callback failed")


def test_one_failure_does_not_end_the_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "KEEP_EVERY_S", 0.001)
    member = Failing()
    kept = KeptAlive(cast(Consumer, member))
    try:
        assert member.twice.wait(10)
    finally:
        kept.close()
