"""kill -9 of workers at random moments, again and again, loses nothing and applies nothing twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

from soma_cli.core.memory import Outcome
from tests.e2e.cluster.end_state import check_everything
from tests.e2e.cluster.installation import Cluster
from tests.e2e.cluster.load import Load, Stream
from tests.e2e.conftest import Running

EVENTS = int(os.environ.get("SOMA_TEST_STORM_EVENTS", "50000"))
RATE = 500.0
SEED = int(os.environ.get("SOMA_TEST_STORM_SEED", "20260101"))
WORKERS = ("kv", "kv", "vector", "audit", "latest")


def test_workers_killed_at_random_moments_end_with_the_fold_of_the_topic(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    kills: Counter[str] = Counter()
    with cluster.library() as system:
        running = [cluster.consume(name) for name in WORKERS]
        with Load(system, Stream(SEED), RATE, EVENTS) as load:
            while not load.done:
                for number in rng.sample(range(len(WORKERS)), len(WORKERS)):
                    _at_a_random_moment(rng, running[number], load)
                    running[number].signal(signal.SIGKILL)
                    assert running[number].wait() == -signal.SIGKILL, running[number].stderr
                    kills[WORKERS[number]] += 1
                    running[number] = cluster.consume(WORKERS[number])
        for worker in running:
            worker.kill()
        cluster.run_to_end()
        outcomes = check_everything(system).outcomes()
    print(f"{sum(outcomes.values())} events, {dict(outcomes)}, killed: {dict(kills)}")
    assert sum(outcomes.values()) == EVENTS
    assert all(outcomes[outcome] > EVENTS / 1000 for outcome in Outcome), outcomes
    assert all(kills[name] for name in WORKERS), kills


def _at_a_random_moment(rng: random.Random, worker: Running, load: Load) -> None:
    """Mostly a while after its first words, which it says when it is at work; sometimes before."""
    if rng.random() < 0.8:
        load.wait_for(lambda: worker.stderr != "")
    time.sleep(rng.uniform(0.0, 1.5))
