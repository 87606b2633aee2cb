"""Events to produce while servers are away: lines for `soma produce`, and a producer that goes on until all are in."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soma_cli.core.event import memory_id_for
from tests.e2e.cluster_servers.projections import ClusterSoma

NAMESPACE = "load"


def lines(events: int, memories: int, chance: random.Random) -> list[dict[str, Any]]:
    """Creates, updates and deletes of so many memories, revived ones among them, some lines twice; `--key
    /payload/key` makes each of them one event, however often it is sent."""
    made: list[dict[str, Any]] = []
    for number in range(events):
        if made and chance.random() < 0.05:
            made.append(chance.choice(made[-200:]))
            continue
        id = memory_id_for(NAMESPACE, f"m{chance.randrange(memories)}")
        kind = chance.choices(("created", "updated", "deleted"), (6, 3, 1))[0]
        line = {"id": id, "type": kind, "namespace": NAMESPACE, "event_id": memory_id_for("event", str(number))}
        payload = {} if kind == "deleted" else {"text": f"event {number} of {id}", "key": f"e{number}"}
        made.append({**line, "payload": payload})
    return made


def keyed_lines(memories: int) -> list[dict[str, Any]]:
    """One memory a line, named by `--key /payload/key`."""
    return [{"payload": {"key": f"k{n}", "text": f"keyed memory {n}"}, "namespace": NAMESPACE} for n in range(memories)]


class Producing:
    """`soma produce` of portions, each again and again until it is in. Use as a context manager; leaving waits."""

    def __init__(self, soma: ClusterSoma, scratch: Path, portions: list[list[dict[str, Any]]], *options: str) -> None:
        scratch.mkdir(exist_ok=True)
        self._soma = soma
        self._options = options
        self._files = [scratch / f"portion-{number}.jsonl" for number in range(len(portions))]
        for file, portion in zip(self._files, portions, strict=True):
            file.write_text("".join(json.dumps(line) + "\n" for line in portion))
        self.done = 0
        self.failures: list[str] = []
        """What the runs that exited 4 said."""
        self.wrong: list[str] = []
        self._given_up = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Producing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._given_up = kind is not None
        self._thread.join()

    def reached(self, portions: int) -> Callable[[], bool]:
        return lambda: self.done >= portions or bool(self.wrong)

    def _run(self) -> None:
        for file in self._files:
            while not (self.wrong or self._given_up or self._is_in(file)):
                pass
            self.done += 1

    def _is_in(self, file: Path) -> bool:
        try:
            done = self._soma.run("produce", str(file), *self._options, "-o", "json")
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            self.wrong.append(repr(error))
            return False
        if done.returncode == 4:
            self.failures.append(done.stderr)
        elif done.returncode != 0 or "Traceback" in done.stderr:
            self.wrong.append(f"exit {done.returncode}: {done.stdout} {done.stderr}")
        return done.returncode == 0
