"""Workers that come and go under load: the group is never at rest, and its table is right all the same."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from tests.e2e.cluster.end_state import check_table_and_journal
from tests.e2e.cluster.installation import Cluster
from tests.e2e.cluster.load import Load, Stream
from tests.e2e.conftest import Running, wait_until

SECONDS = float(os.environ.get("SOMA_TEST_STORM_SECONDS", "30"))
EXIT_WITHIN_S = 45.0
MOST = 4


@pytest.mark.parametrize("named", [False, True], ids=["new members", "instance ids"])
def test_kv_workers_that_come_and_go_end_with_the_fold_of_the_topic(cluster: Cluster, named: bool) -> None:
    rng, seed = random.Random(20260202 + named), 20260202
    places: dict[int, Running] = {}
    done: Counter[str] = Counter()

    def come(place: int) -> None:
        places[place] = cluster.consume("kv", *(["--instance-id", f"kv-{place}"] if named else []))
        done["started"] += 1

    def go(place: int) -> None:
        worker = places.pop(place)
        if done["killed"] < done["terminated"] or (done["killed"] == done["terminated"] and rng.random() < 0.5):
            worker.kill()
            done["killed"] += 1
            return
        # A process that has not come so far as to listen for signals is ended by the first one.
        wait_until(lambda: worker.stderr != "", "its first words", worker.process)
        began = time.monotonic()
        assert worker.terminated() == 0, worker.stderr
        assert time.monotonic() - began < EXIT_WITHIN_S, worker.stderr
        done["terminated"] += 1

    # The promise of ten seconds is tested where nobody else wants the same rows.
    cluster.choose(worker__drain_timeout_s=60.0)
    with cluster.library() as system:
        come(0)
        with Load(system, Stream(seed), 400) as load:
            ends_at = time.monotonic() + SECONDS
            while time.monotonic() < ends_at or min(done["killed"], done["terminated"]) < 2:
                place = rng.randrange(MOST)
                if place not in places:
                    come(place)
                elif len(places) > 1:
                    go(place)
                time.sleep(rng.uniform(0.1, 1.5))
        for place in list(places):
            go(place)
        running = cluster.consume("kv", "--until-end")
        assert running.wait() == 0, running.stderr
        outcomes = check_table_and_journal(system).outcomes()
    print(f"{sum(outcomes.values())} events, {dict(done)}")
    assert sum(outcomes.values()) == load.appended > 1000
