"""One installation of soma on real servers: its command line as processes, and the library on the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest

from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import MemorySystem, create_memory_system
from tests.e2e.conftest import Running, Soma, wait_until
from tests.services import new_topic_prefix

PARTITIONS = 4
AT_MOST_S = 180.0
"""Only a hang takes that long, also where the cores are shared with other tests."""


class Cluster(Soma):
    """Topics, groups, cache keys and data folder of its own on servers that others may use too.

    The index is qdrant_edge: its folder is on this machine, so several workers take turns at it.
    """

    def __init__(self, folder: Path, kafka: str, dsn: str, redis: str | None = None, **settings: object) -> None:
        super().__init__(folder / "data", folder / "output")
        prefix = new_topic_prefix()
        self.prefix = prefix
        self._chosen: dict[str, Any] = {
            "log.bootstrap_servers": kafka,
            "log.replication_factor": 1,
            "log.partitions": PARTITIONS,
            "log.topic_prefix": prefix,
            "log.group_prefix": prefix.rstrip("."),
            "log.session_timeout_s": 6.0,
            "store.dsn": dsn,
            "cache.kind": "redis" if redis else "none",
            "cache.prefix": prefix,
            "index.kind": "qdrant_edge",
            "registry.kind": "files",
            "worker.backoff_max_s": 1.0,
            **({"cache.url": redis} if redis else {}),
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        self._name_settings()

    def choose(self, **settings: object) -> None:
        """Change settings, by names such as `log__session_timeout_s`, for processes that are started from now on."""
        self._chosen |= {name.replace("__", "."): value for name, value in settings.items()}
        self._name_settings()

    def _name_settings(self) -> None:
        named = {f"SOMA_{name.upper().replace('.', '__')}": str(value) for name, value in self._chosen.items()}
        self.settings = {"SOMA_PROFILE": "cluster", **named}

    def library(self, **overrides: Any) -> MemorySystem:
        chosen = {name.replace(".", "__"): value for name, value in self._chosen.items()}
        return create_memory_system(profile="cluster", data_dir=str(self.folder), **{**chosen, **overrides})

    def group(self, worker: str) -> str:
        return f"{self.prefix}{self._chosen['log.group_prefix']}-{worker}"

    def consume(self, worker: str, *options: str) -> Running:
        return self.start("consume", worker, *options)

    def run_to_end(self, worker: str = "all") -> None:
        """Work until the end that the log has now; dead owners of partitions have to time out first."""
        running = self.consume(worker, "--until-end")
        code = running.wait(AT_MOST_S)
        if code != 0:
            pytest.fail(f"consume {worker} --until-end exited {code}: {running.stderr}")

    def __enter__(self) -> Self:
        done = self.run("init")
        if done.returncode != 0:
            pytest.fail(f"soma init exited {done.returncode}: {done.stderr}")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()


def kv_positions(system: MemorySystem) -> dict[int, int]:
    return system.adapters.store.positions(system.adapters.log.topic_id(EVENTS_TOPIC))


def ends(system: MemorySystem) -> dict[int, int]:
    return {number: bounds.end for number, bounds in system.adapters.log.bounds(EVENTS_TOPIC).items()}


def wait_until_kv_is_at_the_end(system: MemorySystem, worker: Running | None = None) -> None:
    goal = ends(system)
    wait_until(
        lambda: all(kv_positions(system).get(number, 0) >= end for number, end in goal.items()),
        f"kv at {goal}; it is at {kv_positions(system)}",
        None if worker is None else worker.process,
    )


def wait_until_the_group_is_at_the_end(system: MemorySystem, group: str, worker: Running | None = None) -> None:
    """By its committed offsets."""
    goal = {number: end for number, end in ends(system).items() if end}

    def there() -> bool:
        now = committed(system, group)
        return all(now.get(number, 0) >= end for number, end in goal.items())

    wait_until(there, f"{group} at {goal}", None if worker is None else worker.process)


def committed(system: MemorySystem, group: str) -> dict[int, int]:
    """By partition, how far the group says that it is."""
    return {number: item.offset for number, item in system.adapters.log.committed(group, EVENTS_TOPIC).items()}


def wait_until_it_moves(system: MemorySystem, group: str, before: dict[int, int]) -> None:
    wait_until(lambda: committed(system, group) != before, f"{group} at work")
