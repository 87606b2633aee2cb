"""Workers that were thought dead and are not."""

from __future__ import annotations

import signal

import pytest

from soma_cli.core.system import MemorySystem
from tests.e2e.cluster.end_state import check_everything
from tests.e2e.cluster.installation import (
    Cluster,
    committed,
    wait_until_it_moves,
    wait_until_the_group_is_at_the_end,
)
from tests.e2e.cluster.load import Load, Stream, append
from tests.e2e.conftest import Running, wait_until

SESSION_S = 3.0
ROUNDS = 2


@pytest.mark.parametrize("name", ["kv", "audit", "latest"])
def test_a_worker_paused_past_its_session_and_continued_takes_nothing_back(cluster: Cluster, name: str) -> None:
    cluster.choose(log__session_timeout_s=SESSION_S)
    group = cluster.group(name)
    with cluster.library() as system:
        others = [cluster.consume("kv")] if name == "latest" else []
        first, second = cluster.consume(name), None
        with Load(system, Stream(7), 400) as load:
            for _ in range(ROUNDS):
                before = committed(system, group)
                wait_until_it_moves(system, group, before)
                first.signal(signal.SIGSTOP)
                if second is None:
                    second = cluster.consume(name)
                _wait_until_all_move(system, group, second)
                first.signal(signal.SIGCONT)
                wait_until(lambda: system.adapters.log.members(group) == 2, "both in the group", first.process)
                first, second = second, first
        wait_until_the_group_is_at_the_end(system, group)
        assert load.appended > 1000
        for worker in (first, second, *others):
            assert worker is not None
            assert worker.terminated() == 0, worker.stderr
        cluster.run_to_end()
        check_everything(system)


@pytest.mark.parametrize("name", ["kv", "audit"])
def test_of_two_workers_of_one_instance_id_the_older_ends_and_says_why(cluster: Cluster, name: str) -> None:
    with cluster.library() as system:
        stream = Stream(13)
        append(system, stream, 500)
        older = cluster.consume(name, "--instance-id", "one")
        wait_until_the_group_is_at_the_end(system, cluster.group(name), older)
        newer = cluster.consume(name, "--instance-id", "one")
        append(system, stream, 500)
        assert older.wait() == 3, older.stderr
        assert "instance id `one`" in older.stderr
        wait_until_the_group_is_at_the_end(system, cluster.group(name), newer)
        assert newer.terminated() == 0, newer.stderr
        cluster.run_to_end()
        check_everything(system)


def _wait_until_all_move(system: MemorySystem, group: str, worker: Running) -> None:
    """The worker has all partitions: each moves on from where it was a moment after the other was paused."""
    before = committed(system, group)

    def all_moved() -> bool:
        now = committed(system, group)
        return len(now) == 4 and all(offset > before.get(number, -1) for number, offset in now.items())

    wait_until(all_moved, f"{group} at work in all partitions", worker.process)
