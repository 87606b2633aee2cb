"""Many processes on one data folder at once: writers, workers and readers, through the library and the command line."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from soma_cli.core.memory import Outcome
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import MemorySystem
from tests.e2e.conftest import Running, Soma, check_projections, log_end, wait_until

DURATION_S = 8.0
LONGEST_SEARCH_S = 3.0
"""A search helps a busy indexer for a quarter of a second; the rest is room for a busy machine."""

WRITE = """
import json, random, sys, time
from soma_cli.core.system import create_memory_system
folder, name, seconds, at_least = sys.argv[1], sys.argv[2], float(sys.argv[3]), 20
rng, receipts, mine, searches = random.Random(name), [], [], []
with create_memory_system(data_dir=folder) as soma:
    began = time.monotonic()
    while time.monotonic() - began < seconds or len(receipts) - receipts.count(None) < at_least:
        word = f"{name}w{len(receipts)}"
        receipt = soma.store(text=f"{word} stored by {name}", namespace=name)
        receipts.append(receipt.event_id)
        mine.append(receipt.id)
        got = soma.get(receipt.id)
        assert got is not None and got.payload["text"].startswith(word), f"{word}: stored, but not read: {got}"
        if rng.random() < 0.3:
            before = time.monotonic()
            hits = soma.search(word, namespace=name, limit=3)
            searches.append(time.monotonic() - before)
            if "alone" in sys.argv:
                assert [hit.id for hit in hits][:1] == [receipt.id], f"{word}: stored, but not found: {hits}"
        if rng.random() < 0.4:
            receipts.append(soma.update(rng.choice(mine), text=f"changed by {name}").event_id)
        if rng.random() < 0.1:
            receipts.append(soma.delete(mine.pop(rng.randrange(len(mine)))).event_id)
        if rng.random() < 0.1:
            lines = [json.dumps({"payload": {"text": f"{word} line {n}"}}).encode() for n in range(20)]
            assert soma.produce(lines, namespace=name).appended == 20
            receipts += [None] * 20
        time.sleep(0.02)
print(json.dumps({"receipts": receipts, "searches": searches}))
"""

READ = """
import json, sys, time
from soma_cli.core.system import create_memory_system
folder, seconds = sys.argv[1], float(sys.argv[2])
searches = []
with create_memory_system(data_dir=folder) as soma:
    began, position = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        listed = soma.list_memories(limit=20)
        assert all(a.version > b.version for a, b in zip(listed, listed[1:])), "the list is out of order"
        for memory in listed[:3]:
            soma.get(memory.id)
            assert soma.history(memory.id)[0].outcome == "applied"
        before = time.monotonic()
        soma.search("stored changed line", limit=5)
        searches.append(time.monotonic() - before)
        assert soma.admin.stats()["memories"] >= 0
        time.sleep(0.05)
print(json.dumps({"searches": searches}))
"""


def finished(running: Running) -> dict[str, Any]:
    assert running.wait() == 0, running.stderr
    return json.loads(running.stdout)


def test_writers_workers_and_readers_at_once(soma: Soma, tmp_path: Path) -> None:
    soma.json("stats")
    workers = [soma.start("consume", name) for name in ("kv", "vector")]
    writers = [soma.start_script(WRITE, str(soma.folder), f"writer{n}", str(DURATION_S)) for n in range(6)]
    reader = soma.start_script(READ, str(soma.folder), str(DURATION_S))
    by_command = [_use_the_command_line(soma, tmp_path, number) for number in range(4)]
    written = [finished(writer) for writer in writers]
    searches = finished(reader)["searches"] + [time for result in written for time in result["searches"]]
    with soma.library() as system:
        wait_until(
            lambda: (
                system.adapters.index.positions(system.adapters.log.topic_id(EVENTS_TOPIC)).get(0) == log_end(system)
            ),
            "the index at the end",
            workers[1].process,
        )
        assert [worker.terminated() for worker in workers] == [0, 0]
        decisions = check_projections(system)
    for process in [*workers, *writers, reader]:
        for word in ("locked", "busy", "Traceback", "retrying"):
            assert word not in process.stderr, process.stderr
    _check_nothing_is_lost(decisions, written, by_command)
    print(f"\n{len(decisions)} events, {len(searches)} searches: median {statistics.median(searches):.3f} s,", end=" ")
    print(f"longest {max(searches):.3f} s")
    # Eight processes hand the index around, on however many cores there are: the bound only rules out starvation.
    assert statistics.median(searches) < LONGEST_SEARCH_S * 2
    assert max(searches) < LONGEST_SEARCH_S * 10


def _check_nothing_is_lost(decisions: list[Any], written: list[dict[str, Any]], by_command: list[int]) -> None:
    appended = sorted(decision.entry.event.event_id for decision in decisions)
    known = [event_id for result in written for event_id in result["receipts"] if event_id is not None]
    unnamed = sum(result["receipts"].count(None) for result in written)
    assert len(known) == len(set(known)) > 100
    assert set(known) <= set(appended)
    assert len(appended) == len(known) + unnamed + sum(by_command)
    assert all(decision.outcome is Outcome.APPLIED for decision in decisions)


def _use_the_command_line(soma: Soma, tmp_path: Path, number: int) -> int:
    """Store, update, read and produce by the command; how many events that appended."""
    id = soma.json("store", "--text", f"command {number} wrote this")["id"]
    soma.json("update", id, "--text", f"command {number} wrote this again")
    assert soma.json("get", id)["payload"] == {"text": f"command {number} wrote this again"}
    file = tmp_path / f"{number}.jsonl"
    file.write_text("\n".join(json.dumps({"payload": {"text": f"bulk {number} {n}"}}) for n in range(30)))
    assert soma.json("produce", str(file))["appended"] == 30
    found = soma.run("search", f"command {number} wrote", "-q")
    assert found.returncode == 0, found.stderr
    assert "locked" not in found.stderr
    return 32


def test_what_a_process_stored_it_finds(soma: Soma) -> None:
    """Several writers and no worker: each finds its own memory in the search that follows."""
    soma.json("stats")
    writers = [soma.start_script(WRITE, str(soma.folder), f"writer{n}", "4", "alone") for n in range(3)]
    results = [finished(writer) for writer in writers]
    assert sum(len(result["searches"]) for result in results) > 3
    with soma.library() as system:
        system.apply_vector()
        check_projections(system)


def test_first_starts_do_not_race(soma: Soma) -> None:
    """Six processes that find no data folder make one, and each gets its event into it."""
    calls = [soma.start("store", "--text", f"number {n}", "-q") for n in range(6)]
    ids = set()
    for call in calls:
        assert call.wait() == 0, call.stderr
        ids.add(call.stdout.strip())
    with soma.library() as system:
        assert {memory.id for memory in system.list_memories()} == ids
        assert log_end(system) == 6


def test_a_search_does_not_wait_for_a_busy_indexer_to_finish(soma: Soma) -> None:
    """It looks at what is there, and says on stderr how much is missing."""
    soma.json("store", "--text", "the lighthouse at the end of the pier")
    soma.json("consume", "all", "--until-end")
    with soma.library() as system:
        for start in range(0, 6000, 2000):
            lines = [f'{{"payload": {{"text": "filler {start + n} of the backlog"}}}}'.encode() for n in range(2000)]
            system.produce(lines)
        worker = soma.start("consume", "all", "--batch-size", "10")
        wait_until(lambda: system.adapters.log.members("soma-vector") == 1, "the worker", worker.process)
        times, behind = [], []
        for _ in range(5):
            began = time.monotonic()
            assert len(system.search("lighthouse")) == 1
            times.append(time.monotonic() - began)
            behind.append(log_end(system) - _index_position(system))
        assert behind[0] > 0, "the indexer was too fast to be busy"
        assert worker.terminated() == 0, worker.stderr
    print(f"\nbusy indexer: median {statistics.median(times):.3f} s, longest {max(times):.3f} s; left behind {behind}")
    assert max(times) < LONGEST_SEARCH_S * 10  # it indexes what is missing by itself, beside a busy worker


def test_a_search_finds_what_was_just_stored_where_the_indexer_does_not_come_on(soma: Soma) -> None:
    """A member of the indexer's group that does nothing: the search indexes by itself what is missing."""
    with soma.library() as system:
        idle = system.adapters.log.consumer("soma-vector", EVENTS_TOPIC, lambda partition: 0)
        id = system.store(text="second").id
        assert [hit.id for hit in system.search("second")] == [id]
        idle.close()


def _index_position(system: MemorySystem) -> int:
    return system.adapters.index.positions(system.adapters.log.topic_id(EVENTS_TOPIC)).get(0, 0)
