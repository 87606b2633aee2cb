"""Rebuilds with workers at work and events coming in, killed half-way: readers see nothing of them."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from soma_cli.core.system import MemorySystem
from tests.e2e.cluster_servers.load import Producing, lines
from tests.e2e.cluster_servers.projections import PATIENT, ClusterSoma, check_everything, passed_by_all, wait_until

SEED = 20261128
STEADY = 1500
KILLS = ("kv", "vector") * 3
SHADOWS = "SELECT relname FROM pg_class WHERE relname LIKE 'shadow%' AND relkind = 'r'"


def rebuild(into: str) -> tuple[str, ...]:
    return ("replay", "--into", into, "--execute", "--yes", "-o", "json")


@contextmanager
def reading(system: MemorySystem) -> Iterator[list[str]]:
    """Somebody reads all the time: what is there stays whole. What was wrong is told at the end."""
    stop, wrong = threading.Event(), list[str]()

    def read() -> None:
        while not stop.is_set() and not wrong:
            try:
                count = sum(1 for _ in system.adapters.store.scan_states(namespace="steady"))
                hits = len(system.search("steady memory", namespace="steady", limit=50))
            except Exception as error:  # noqa: BLE001 - shown by the main thread
                wrong.append(repr(error))
                return
            if (count, hits) != (STEADY, 50):
                wrong.append(f"{count} rows, {hits} hits")
            stop.wait(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


@contextmanager
def shadow_of(cluster: ClusterSoma, into: str) -> Iterator[Callable[[], bool]]:
    """Whether there is one now. One connection for all looks: a rebuild is soon over."""
    before = _generations(cluster)
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:

        def tables() -> bool:
            return bool(connection.execute(SHADOWS).fetchall())

        yield tables if into == "kv" else lambda: _generations(cluster) > before


def test_rebuilds_under_load_killed_again_and_again(cluster: ClusterSoma, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    cluster.settings |= PATIENT
    worker = cluster.start("consume", "all")
    steady = [f'{{"payload": {{"text": "steady memory {n}"}}, "namespace": "steady"}}'.encode() for n in range(STEADY)]
    load = lines(2000, 200, random.Random(SEED))
    portions = [load[start : start + 250] for start in range(0, len(load), 250)]
    with cluster.system() as system:
        system.produce(steady)
        passed_by_all(cluster, system, worker)
        with reading(system) as wrong, Producing(cluster, tmp_path / "lines", portions) as producing:
            killed = 0
            for into in KILLS:
                process = cluster.start(*rebuild(into))
                with shadow_of(cluster, into) as shadow:
                    wait_until(lambda: shadow() or process.process.poll() is not None, "a shadow")  # noqa: B023
                # Somewhere on its way from there to the swap, or right after that.
                threading.Event().wait(chance.uniform(0.0, 0.4))
                process.signal(signal.SIGKILL)
                killed += process.process.wait() == -signal.SIGKILL
                assert wrong == [], into
            assert killed >= len(KILLS) // 2, "the others were done before"
            for into in ("kv", "vector"):
                done = cluster.run(*rebuild(into))
                assert done.returncode == 0, done.stderr
        assert (wrong, producing.wrong, producing.failures) == ([], [], [])
        passed_by_all(cluster, system, worker)
        check_everything(cluster, system)
        for into in ("kv", "vector"):
            found = cluster.json("replay", "--into", into)
            assert set(found["differences"].values()) == {0}, found
    assert cluster.query(SHADOWS) == []
    assert _generations(cluster) == 1
    assert worker.terminated() == 0


def _generations(cluster: ClusterSoma) -> int:
    return sum(1 for path in (cluster.folder / "index").iterdir() if path.is_dir())
