"""Vectors by way of `embedding.requests` and `embedding.responses`, with both workers killed in the middle."""

from __future__ import annotations

import random
import signal
import time
from functools import partial

from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import IndexQuery
from soma_cli.core.system import MemorySystem
from soma_cli.core.text import text_of
from tests.e2e.cluster.end_state import check_index, check_table_and_journal
from tests.e2e.cluster.installation import Cluster
from tests.e2e.cluster.load import Load, Stream
from tests.e2e.conftest import Running
from tests.services.embedding_server import embed, running_embedding_server

KILLS = 4
SEED = 20260303
KILLED = ("vector", "embed")


def test_each_live_memory_has_the_vector_of_its_newest_version(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    with running_embedding_server() as url:
        cluster.choose(
            embedder__kind="openai_http", embedder__url=url, embedder__model="bag-of-words", embedder__via="topics"
        )
        with cluster.library() as system:
            names = ("kv", "vector", "embed")
            running = {name: cluster.consume(name) for name in names}
            with Load(system, Stream(SEED, memories=600), 150) as load:
                for name in rng.sample(KILLED * KILLS, len(KILLED) * KILLS):
                    load.wait_for(partial(_has_spoken, running[name]))
                    time.sleep(rng.uniform(0.0, 1.5))
                    running[name].signal(signal.SIGKILL)
                    running[name].wait()
                    running[name] = cluster.consume(name)
            for worker in running.values():
                worker.kill()
            # Each asks or answers for the next one.
            for name in names:
                cluster.run_to_end(name)
            cluster.run_to_end("vector")
            fold = check_table_and_journal(system)
            check_index(system, fold)
            live = [state for state in fold.states.values() if not state.deleted]
            assert len(live) > 100
            without = [point.id for point in system.adapters.index.scan() if not point.deleted and not point.dense]
            assert not without, f"{len(without)} of {len(live)} memories have no vector, the first: {without[0]}"
            for state in live:
                _check_vector_is_of_the_newest_text(system, state)
        print(f"{load.appended} events, {len(live)} live memories, {KILLS} kills of each of {KILLED}")


def _check_vector_is_of_the_newest_text(system: MemorySystem, state: MemoryState) -> None:
    """The memory's own text finds it by its vector, with nothing between them."""
    vector = embed(text_of(state.payload, ()))
    query = IndexQuery(mode="dense", text="", embedding=vector, limit=5)
    scores = {hit.id: hit.score for hit in system.adapters.index.search(query)}
    assert scores.get(state.id, 0.0) > 0.9999, f"{state.id} has the vector of another text: {scores}"


def _has_spoken(worker: Running) -> bool:
    """What a worker says first, it says when it is at work."""
    return worker.stderr != ""
