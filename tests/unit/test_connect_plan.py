"""What `soma connect apply` finds to do, and that it goes on where an earlier run ended half-way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.operations.connect import execute, plan
from soma_cli.core.operations.connect_config import TOPIC_ID
from soma_cli.core.settings import Settings

WANTED = {"connector.class": "x.Sink", TOPIC_ID: "new"}
APPLIED = {0: 7, 1: 0}


class Written:
    """A Connect that keeps one connector, and can end at a given request."""

    where = "http://here"

    def __init__(self, config: dict[str, str] | None, state: str = "RUNNING", tasks: tuple[str, ...] = ()) -> None:
        self.kept, self.state, self.tasks = config, state, tasks
        self.asked: list[str] = []
        self.started_at: dict[int, int] | None = None
        self.ends_at = ""

    def version(self) -> str:
        return "4.1.1"

    def plugins(self) -> set[str]:
        return {"x.Sink"}

    def config(self, connector: str) -> dict[str, str] | None:
        return self.kept

    def status(self, connector: str) -> dict[str, Any] | None:
        if self.kept is None:
            return None
        tasks = [{"id": number, "state": state} for number, state in enumerate(self.tasks)]
        return {"connector": {"state": self.state, "trace": "a.b.Oops: no"}, "tasks": tasks}

    def make(self, connector: str, config: Mapping[str, str]) -> None:
        self._ask("make")
        self.kept, self.state = dict(config), "STOPPED"

    def change(self, connector: str, config: Mapping[str, str]) -> None:
        self._ask("change")
        self.kept = dict(config)

    def stop(self, connector: str) -> None:
        self._ask("stop")
        self.state, self.tasks = "STOPPED", ()

    def start_at(self, connector: str, topic: str, offsets: Mapping[int, int]) -> None:
        self._ask("start_at")
        self.started_at, self.state, self.tasks = dict(offsets), "RUNNING", ("RUNNING",)

    def close(self) -> None:
        pass

    def _ask(self, what: str) -> None:
        if what == self.ends_at:
            raise ServiceUnavailable("gone")
        self.asked.append(what)


def apply(connect: Written) -> Any:
    settings = Settings()
    return execute(settings, connect, plan(settings, connect, WANTED, APPLIED), WANTED, APPLIED)


def test_one_that_runs_is_left_alone() -> None:
    connect = Written(WANTED, tasks=("RUNNING", "UNASSIGNED"))
    assert apply(connect).action == "nothing"
    assert connect.asked == []


@pytest.mark.parametrize("state", ["STOPPED", "PAUSED", "FAILED"])
def test_one_that_does_not_run_is_started_where_kv_is(state: str) -> None:
    connect = Written(WANTED, state)
    done = apply(connect)
    assert (done.action, done.failures) == ("nothing", [f"the connector is {state}: Oops: no"])
    assert (connect.asked, connect.started_at) == (["stop", "start_at"], APPLIED)
    assert apply(connect).restart_at == []


def test_one_that_is_made_starts_where_kv_is() -> None:
    connect = Written(None)
    assert apply(connect).restart_at == ["memory.events/0@7", "memory.events/1@0"]
    assert (connect.asked, connect.started_at) == (["make", "stop", "start_at"], APPLIED)


def test_of_another_topic_nothing_lands_before_it_starts_at_that_topics_positions() -> None:
    connect = Written(WANTED | {TOPIC_ID: "old"}, tasks=("RUNNING",))
    apply(connect)
    assert connect.asked == ["stop", "change", "start_at"]


@pytest.mark.parametrize("before", [None, WANTED | {TOPIC_ID: "old"}])
@pytest.mark.parametrize("ends_at", ["make", "stop", "change", "start_at"])
def test_what_ended_half_way_is_gone_on_with(before: dict[str, str] | None, ends_at: str) -> None:
    connect = Written(before, tasks=("RUNNING",) if before else ())
    connect.ends_at = ends_at
    try:
        apply(connect)
    except ServiceUnavailable:
        assert connect.started_at is None
    connect.ends_at = ""
    apply(connect)
    assert (connect.kept, connect.state, connect.started_at) == (WANTED, "RUNNING", APPLIED)
