"""kill -9 at any moment loses nothing and applies nothing twice."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import Any

from soma_cli.core.event import new_id
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.memory import Outcome
from soma_cli.core.system import MemorySystem
from tests.e2e.conftest import Soma, check_projections, log_end, wait_until

EVENTS = 3000
KILLS = 12

APPEND_AHEAD = """
import json, random, sys, time
from pathlib import Path
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.system import create_memory_system
folder, file, all_at_once = sys.argv[1:]
rng, sent = random.Random(7), 0
with create_memory_system(data_dir=folder) as system, open(file) as lines:
    log, store = system.adapters.log, system.adapters.store
    records = [NewRecord(EVENTS_TOPIC, key.encode(), value.encode()) for key, value in map(json.loads, lines)]
    while sent < len(records):
        paced = not Path(all_at_once).exists()
        if not paced or sent - store.positions(log.topic_id(EVENTS_TOPIC)).get(0, 0) < 100:
            size = rng.randint(1, 40)
            log.append(records[sent : sent + size])
            sent += size
        time.sleep(0.07 * paced)
"""
"""However long workers take to start, there is something for them to do when they have: never much, and never all."""


def difficult_stream(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Keys and values of events that hit every rule of the fold, for an empty log: offsets are versions there."""
    ids = [new_id() for _ in range(120)]
    stream: list[tuple[str, str]] = []
    newest: dict[str, int] = {}
    for offset in range(count):
        kind = rng.random()
        if kind < 0.15 and stream:
            stream.append(stream[rng.randrange(max(0, offset - 700), offset)])  # a duplicate, late or at once
            continue
        if kind < 0.17:
            stream.append((ids[0], "{not json"))
            continue
        id = rng.choice(ids)
        event: dict[str, Any] = {
            "event_id": new_id(), "id": id, "namespace": f"n{offset % 3}", "timestamp": "2026-01-01T00:00:00Z",
            "type": rng.choices(["created", "updated", "deleted"], [3, 5, 2])[0],
        }  # fmt: skip
        event["payload"] = {} if event["type"] == "deleted" else {"text": f"note {offset} on {id}", "n": offset}
        if kind > 0.8:
            event["if_version"] = newest.get(id, -1) if kind > 0.9 else rng.randint(-1, offset)
        newest[id] = offset
        stream.append((id, json.dumps(event)))
    return stream


def test_workers_killed_at_random_moments_end_with_the_fold_of_the_log(soma: Soma, tmp_path) -> None:
    rng = random.Random(20260101)
    stream = difficult_stream(rng, EVENTS)
    file, all_at_once = tmp_path / "stream.jsonl", tmp_path / "all-at-once"
    file.write_text("\n".join(map(json.dumps, stream)))
    producer = soma.start_script(APPEND_AHEAD, str(soma.folder), str(file), str(all_at_once))
    with soma.library() as system:
        wait_until(lambda: log_end(system) > 0, "the first record", producer.process)
        positions = [_kill_one(soma, system, rng, number) for number in range(KILLS)]
        assert producer.process.poll() is None, "there was more to come"
        all_at_once.touch()
        assert producer.wait() == 0, producer.stderr
        result = soma.run("consume", "all", "--until-end", "-o", "json")
        assert result.returncode == 0, result.stderr
        decisions = check_projections(system)
        outcomes = Counter(decision.outcome for decision in decisions)
        assert all(outcomes[outcome] > 20 for outcome in Outcome), outcomes
        rejected = [decision.entry.record for decision in decisions if decision.outcome is Outcome.REJECTED]
        letters = read_letters(system.adapters.log)
        assert sorted((letter.source.offset, letter.source.value) for letter in letters) == [
            (record.offset, record.value) for record in rejected
        ]
        assert len(set(positions)) > KILLS / 2, f"the kills came at moments too much alike: {positions}"


def _kill_one(soma: Soma, system: MemorySystem, rng: random.Random, number: int) -> int:
    """Start a worker, kill it a moment after it has begun to work; the position that it came to."""
    name = ("kv", "vector", "all")[number % 3]
    start = _position(system)
    worker = soma.start("consume", name, "--batch-size", str(rng.choice([1, 7, 50])))
    if name != "vector":
        wait_until(lambda: _position(system) > start, "progress", worker.process)
    time.sleep(rng.uniform(0.0, 0.5))
    worker.signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL, worker.stderr
    return _position(system)


def _position(system: MemorySystem) -> int:
    return system.adapters.store.positions(system.adapters.log.topic_id("memory.events")).get(0, 0)


def test_produce_killed_midway_adds_exactly_what_is_missing_when_run_again(soma: Soma, tmp_path) -> None:
    total = 20_000
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(json.dumps({"payload": {"key": f"k{n}", "text": f"line {n}"}}) for n in range(total)))
    with soma.library() as system:
        first = soma.start("produce", str(file), "--key", "/payload/key")
        wait_until(lambda: log_end(system) > 0, "the first line", first.process)
        first.signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL, "it was too fast to be killed"
        there = log_end(system)
        assert 0 < there < total
        result = soma.json("produce", str(file), "--key", "/payload/key")
        assert (result["appended"], result["duplicates"], result["accepted"]) == (total - there, there, total)
        assert log_end(system) == total
        again = soma.json("produce", str(file), "--key", "/payload/key")
        assert (again["appended"], again["duplicates"]) == (0, total)
        assert system.admin.stats()["memories"] == total


def test_a_killed_store_is_there_whole_or_not_at_all(soma: Soma) -> None:
    rng = random.Random(5)
    soma.json("store", "--text", "the folder is there")
    for number in range(8):
        call = ["store", "--text", f"text {number}", "--idempotency-key", f"key {number}"]
        killed = soma.start(*call)
        time.sleep(rng.uniform(0.25, 0.5))
        killed.signal(signal.SIGKILL)
        killed.wait()
        with soma.library() as system:
            before = log_end(system)
        receipt = soma.json(*call)
        assert receipt["duplicate"] == (before == number + 2)
        assert soma.json("get", receipt["id"])["payload"] == {"text": f"text {number}"}
    with soma.library() as system:
        assert log_end(system) == 9
        system.apply_vector()
        check_projections(system)
    with closing(sqlite3.connect(soma.folder / "log.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
