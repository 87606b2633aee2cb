"""Vectors by way of `embedding.requests` and `embedding.responses`, with both workers killed in the middle."""

from __future__ import annotations

import random
import signal
import time
from functools import partial

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import IndexQuery
from soma_cli.core.record import REQUESTS_TOPIC, RESPONSES_TOPIC
from soma_cli.core.system import MemorySystem
from soma_cli.core.text import text_of
from tests.e2e.cluster.end_state import check_index, check_table_and_journal
from tests.e2e.cluster.installation import AT_MOST_S, Cluster
from tests.e2e.cluster.load import Load, Stream
from tests.e2e.conftest import Running, wait_until
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


def test_requests_that_nobody_served_before_they_were_deleted(cluster: Cluster) -> None:
    """The worker goes on with what is there, and says how the vectors that are missing can be had."""
    with running_embedding_server() as url:
        cluster.choose(
            embedder__kind="openai_http", embedder__url=url, embedder__model="bag-of-words", embedder__via="topics"
        )
        with cluster.library() as system:
            for text in ("first", "second", "third"):
                for number in range(20):
                    system.store(text=f"{text} {number}")
                cluster.run_to_end("kv")
                cluster.run_to_end("vector")
                if text == "second":
                    _delete_all(system, REQUESTS_TOPIC)
                if text == "first":
                    cluster.run_to_end("embed")
            embed = cluster.consume("embed", "--until-end")
            assert embed.wait(AT_MOST_S) == 0, embed.stderr
            assert "soma consume vector --from beginning" in embed.stderr
            assert embed.stderr.count("older than the topic keeps records") <= len(
                system.adapters.log.bounds(REQUESTS_TOPIC)
            )
            cluster.run_to_end("vector")
            assert _without_vector(system) == {f"second {number}" for number in range(20)}

            again = cluster.consume("vector", "--from", "beginning")
            wait_until(lambda: _end(system, REQUESTS_TOPIC) == 120, "all asked for again", again.process)
            again.signal(signal.SIGTERM)
            assert again.wait() == 0, again.stderr
            cluster.run_to_end("embed")
            cluster.run_to_end("vector")
            assert _without_vector(system) == set()


def test_requests_that_are_deleted_under_a_worker_that_runs(cluster: Cluster) -> None:
    """It was held up for so long by its embedder: it goes on all the same."""
    with running_embedding_server() as url:
        cluster.choose(
            embedder__kind="openai_http",
            embedder__url=url,
            embedder__model="bag-of-words",
            embedder__via="topics",
            worker__batch_size="1",
        )
        with cluster.library() as system:
            system.store(text="first")
            cluster.run_to_end("kv")
            cluster.run_to_end("vector")
            embed = cluster.consume("embed")
            wait_until(lambda: _end(system, RESPONSES_TOPIC) == 1, "an answer", embed.process)
            embed.signal(signal.SIGSTOP)
            for number in range(20):
                system.store(text=f"second {number}")
            cluster.run_to_end("kv")
            cluster.run_to_end("vector")
            _delete_all(system, REQUESTS_TOPIC)
            embed.signal(signal.SIGCONT)
            system.store(text="third")
            cluster.run_to_end("kv")
            cluster.run_to_end("vector")
            wait_until(lambda: _end(system, RESPONSES_TOPIC) > 1, "another answer", embed.process)
            embed.signal(signal.SIGTERM)
            assert embed.wait() == 0, embed.stderr
            cluster.run_to_end("vector")
            assert "third" not in _without_vector(system)


def _end(system: MemorySystem, topic: str) -> int:
    return sum(bounds.end for bounds in system.adapters.log.bounds(topic).values())


def _delete_all(system: MemorySystem, topic: str) -> None:
    """As the brokers do when the records are older than the topic's retention."""
    admin = AdminClient({"bootstrap.servers": system.settings.log.bootstrap_servers or ""})
    name = system.settings.log.topic_prefix + topic
    bounds = system.adapters.log.bounds(topic)
    for future in admin.delete_records(
        [TopicPartition(name, number, at.end) for number, at in bounds.items()]
    ).values():
        future.result(10)


def _without_vector(system: MemorySystem) -> set[str]:
    ids = [point.id for point in system.adapters.index.scan() if not point.dense]
    system.adapters.index.release()
    return {str(state.payload["text"]) for state in system.adapters.store.states(ids).values()}


def _check_vector_is_of_the_newest_text(system: MemorySystem, state: MemoryState) -> None:
    """The memory's own text finds it by its vector, with nothing between them."""
    vector = embed(text_of(state.payload, ()))
    query = IndexQuery(mode="dense", text="", embedding=vector, limit=5)
    scores = {hit.id: hit.score for hit in system.adapters.index.search(query)}
    assert scores.get(state.id, 0.0) > 0.9999, f"{state.id} has the vector of another text: {scores}"


def _has_spoken(worker: Running) -> bool:
    """What a worker says first, it says when it is at work."""
    return worker.stderr != ""
