"""Events that hit every rule of the fold, appended while workers live and die."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from soma_cli.core.event import new_id
from soma_cli.core.ports import Appended
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.system import MemorySystem


class Stream:
    """Seeded: of 100 events about 12 are duplicates of earlier ones (same event_id), 20 carry `if_version` (half of
    them what was the newest version a moment ago), 20 are deletes, one in 300 is not JSON. Updates come before any
    `created` and after deletes, too."""

    def __init__(self, seed: int, memories: int = 1500) -> None:
        self._rng = random.Random(seed)
        self._ids = [new_id() for _ in range(memories)]
        self._sent: list[NewRecord] = []
        self._newest: dict[str, int] = {}

    def take(self, count: int) -> list[NewRecord]:
        taken = [self._one(len(self._sent) + number) for number in range(count)]
        self._sent += taken
        return taken

    def appended(self, records: list[NewRecord], receipts: list[Appended]) -> None:
        """The offsets are versions: the topic's epoch is 0."""
        for record, receipt in zip(records, receipts, strict=True):
            self._newest[(record.key or b"").decode()] = receipt.position.offset

    def _one(self, number: int) -> NewRecord:
        kind = self._rng.random()
        if kind < 0.12 and self._sent:
            return self._rng.choice(self._sent[-5000:])
        id = self._rng.choice(self._ids)
        if 0.12 <= kind < 0.1233:
            return NewRecord(EVENTS_TOPIC, id.encode(), b"{not json")
        event: dict[str, Any] = {
            "event_id": new_id(), "id": id, "namespace": f"n{number % 3}", "timestamp": "2026-01-01T00:00:00Z",
            "type": self._rng.choices(["created", "updated", "deleted"], [3, 5, 2])[0],
        }  # fmt: skip
        event["payload"] = {} if event["type"] == "deleted" else {"text": f"note {number} on {id}", "n": number}
        if kind > 0.8:
            held = self._newest.get(id, -1)
            event["if_version"] = held if kind > 0.9 else self._rng.randint(-1, 20_000)
        return NewRecord(EVENTS_TOPIC, id.encode(), json.dumps(event).encode())


def append(system: MemorySystem, stream: Stream, count: int) -> None:
    """So many events more, at once."""
    while count:
        records = stream.take(min(count, 500))
        stream.appended(records, system.adapters.log.append(records))
        count -= len(records)


class Load:
    """Appends in a thread of its own, at about `rate` events a second in uneven batches, until `total` or left.

    Leaving the block waits for the last one, and raises what went wrong.
    """

    def __init__(self, system: MemorySystem, stream: Stream, rate: float, total: int | None = None) -> None:
        self.appended = 0
        self._system = system
        self._stream = stream
        self._rate = rate
        self._total = total
        self._sizes = random.Random(1)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, name="load")

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised when the block is left
            self._failure = error

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set() and (self._total is None or self.appended < self._total):
            size = self._sizes.randint(1, 200)
            if self._total is not None:
                size = min(size, self._total - self.appended)
            append(self._system, self._stream, size)
            self.appended += size
            self._stop.wait(max(0.0, began + self.appended / self._rate - time.monotonic()))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.done:
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._total is None or kind is not None:
            self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
