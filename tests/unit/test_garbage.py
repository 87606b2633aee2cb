"""Cycles are looked for rarely while a worker works, and as before afterwards."""

from __future__ import annotations

import gc

import pytest

from soma_cli.core.garbage import collected_rarely


def test_it_holds_within_the_block_only() -> None:
    before = gc.get_threshold()
    with collected_rarely():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_it_ends_where_the_work_fails() -> None:
    def work() -> None:
        with collected_rarely():
            raise ValueError("the work fails")

    before = gc.get_threshold()
    with pytest.raises(ValueError, match="the work fails"):
        work()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_cycles_are_still_found() -> None:
    class Cycle:
        gone = False

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Cycle.gone = True

    with collected_rarely():
        Cycle()
        kept = [[] for _ in range(60_000)]
    assert Cycle.gone
    assert len(kept) == 60_000
