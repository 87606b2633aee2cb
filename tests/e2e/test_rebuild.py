"""Rebuilds that are killed, and rebuilds under load: readers never see half of one."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from soma_cli.core.system import MemorySystem, create_memory_system

EVENTS = 6000


def filled(folder: Path) -> MemorySystem:
    system = create_memory_system(data_dir=folder)
    lines = (b'{"payload": {"text": "memory number %d"}, "namespace": "n%d"}' % (n, n % 3) for n in range(EVENTS))
    system.produce(lines)
    system.apply_kv()
    system.apply_vector()
    return system


def rebuild(folder: Path, into: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "soma_cli", "--data-dir", str(folder), "replay", "--into", into, "--execute", "--yes"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ,
    )


def check_whole(system: MemorySystem) -> None:
    assert system.admin.stats()["memories"] == EVENTS
    assert len(system.search("memory number", limit=1000)) == 1000


def test_a_rebuild_killed_at_any_point_leaves_nothing_visible_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    chance = random.Random(7)
    with filled(tmp_path) as system:
        for into in ("kv", "vector") * 4:
            process = rebuild(tmp_path, into)
            time.sleep(chance.uniform(0.3, 1.2))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
            check_whole(system)
        for into in ("kv", "vector"):
            process = rebuild(tmp_path, into)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors.decode()
        check_whole(system)
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    assert tables == {"epochs", "memories", "memory_events", "positions"}
    generations = [path for path in (tmp_path / "index").iterdir() if path.is_dir()]
    assert len(generations) == 1, "leftovers of dead rebuilds are gone"


def test_rebuilds_under_load_lose_nothing_and_readers_see_no_half(tmp_path: Path) -> None:
    with filled(tmp_path) as system:
        stop = threading.Event()
        failures: list[BaseException] = []
        stored: list[str] = []

        def write_and_read() -> None:
            number = 0
            try:
                while not stop.is_set():
                    receipt = system.store(text=f"written during the rebuild {number}", namespace="load")
                    stored.append(receipt.id)
                    assert system.fetch(receipt.id).payload["text"].endswith(f" {number}")
                    assert len(system.list_memories(namespace="n1", limit=100)) == 100
                    if number % 5 == 0:
                        assert len(system.search("memory number", namespace="n2", limit=50)) == 50
                    number += 1
                    time.sleep(0.005)
            except BaseException as error:  # noqa: BLE001 - shown by the main thread
                failures.append(error)

        thread = threading.Thread(target=write_and_read)
        thread.start()
        try:
            for into in ("kv", "vector", "kv"):
                process = rebuild(tmp_path, into)
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors.decode()
        finally:
            stop.set()
            thread.join()
        assert failures == []
        assert len(stored) > 20
        assert system.admin.stats()["memories"] == EVENTS + len(stored)
        assert len(system.search("written during the rebuild", namespace="load", limit=1000)) == min(1000, len(stored))
        assert system.admin.rebuild("kv", decide=lambda result: False).differences == dict.fromkeys(
            ("missing", "extra", "different", "journal"), 0
        )
