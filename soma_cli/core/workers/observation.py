"""Whom workers tell what they do. Neutral: the loop knows this protocol, an adapter makes metrics of it.

Every method is cheap and never raises, may be called from any thread, and is told whole batches, never single records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.workers.projection import Tally

WorkerState = Literal["starting", "standby", "running", "idle", "waiting", "retrying", "stopped"]


class Observer(Protocol):
    """What happens in a worker, as it happens. `worker` is the projection's name: kv, vector, audit ..."""

    def turn(self, worker: str) -> None:
        """The worker is alive: once each time round the loop, and now and then in work that takes long."""
        ...

    def state(self, worker: str, state: str, detail: str) -> None:
        """What it does now, one of `WorkerState`; counts as a turn. `detail`: what it waits for, why it retries."""
        ...

    def batch(self, worker: str, tally: Tally, seconds: float, waited_s: Sequence[float]) -> None:
        """A batch is committed. `seconds`: from taking it up to the commit. `waited_s`: for each record that was new,
        the seconds from its append to the commit."""
        ...

    def retry(self, worker: str, code: str) -> None:
        """A transient failure, about to be tried again; `code` is the error's."""
        ...

    def dead_letters(self, worker: str, count: int) -> None:
        """So many records went to the dead-letter topic."""
        ...

    def cache(self, hits: int, misses: int, errors: int) -> None:
        """Ids that the cache knew, or not; `errors` counts calls that failed."""
        ...

    def lag(
        self, worker: str, partition: int, records: int, oldest_age_s: float | None, topic: str = EVENTS_TOPIC
    ) -> None:
        """How far the worker is behind the end of a partition; the age is that of the oldest record it has not
        passed, None where there is none."""
        ...

    def unassigned(self, worker: str, partition: int, topic: str = EVENTS_TOPIC) -> None:
        """The partition is another member's now: its lag is not this worker's to tell any more."""
        ...


class Metrics(Protocol):
    """An observer, and the address at which what it saw is served until it is closed."""

    @property
    def observer(self) -> Observer: ...
    @property
    def url(self) -> str: ...
    def close(self) -> None: ...


class NoObserver:
    """Nobody listens."""

    def turn(self, worker: str) -> None:
        """Does nothing, as all the others."""

    def state(self, worker: str, state: str, detail: str) -> None: ...
    def batch(self, worker: str, tally: Tally, seconds: float, waited_s: Sequence[float]) -> None: ...
    def retry(self, worker: str, code: str) -> None: ...
    def dead_letters(self, worker: str, count: int) -> None: ...
    def cache(self, hits: int, misses: int, errors: int) -> None: ...
    def lag(
        self, worker: str, partition: int, records: int, oldest_age_s: float | None, topic: str = EVENTS_TOPIC
    ) -> None: ...
    def unassigned(self, worker: str, partition: int, topic: str = EVENTS_TOPIC) -> None: ...


UNOBSERVED: Observer = NoObserver()
