"""The canonical store: rows, journal and kv's position, live or as a shadow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from soma_cli.core.memory import Decision, Entry, EventKey, MemoryState, Outcome
from soma_cli.core.ports.setup import Provisioned
from soma_cli.core.record import Position
from soma_cli.core.results import Finding


class EntryRun(NamedTuple):
    """A `Run` whose records were judged: every record of [start, end) of one partition that the log holds."""

    partition: int
    start: int
    end: int
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs for `MemoryStore.apply`, at most one a partition. An id's events all lie in one partition."""

    topic_id: str
    runs: Sequence[EntryRun]


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did: its decisions in the order of the runs, and the stored positions after it. `redelivered`
    records had been passed before and were left alone."""

    decisions: list[Decision]
    redelivered: int
    positions: dict[int, int]


class JournalEntry(NamedTuple):
    """One row of the journal: one position and its outcome. `event` is None where it is not JSON or has no value.

    A duplicate's `event` is its own; `applied_at` is when kv recorded the outcome.
    """

    position: Position
    version: int
    id: str | None
    event_id: str | None
    type: str | None
    appended_at: int
    applied_at: int
    outcome: Outcome
    note: str
    event: bytes | None


class Access(NamedTuple):
    last_access: int
    access_count: int


class Difference(NamedTuple):
    """How what is live differs from a shadow made from the log, at the same position.

    `missing`: the live side lacks the memory; `extra`: the log does not have it; `journal`: journal rows that differ
    (0 for an index). `examples` names up to ten ids of each kind.
    """

    compared: int
    missing: int
    extra: int
    different: int
    journal: int
    examples: dict[str, list[str]]

    @property
    def total(self) -> int:
        """Differences of every kind."""
        return self.missing + self.extra + self.different + self.journal


class CanonicalTables(Protocol):
    """What kv writes: rows, journal and position, of the live tables or of a shadow."""

    def positions(self, topic_id: str) -> dict[int, int]:
        """The stored position of each partition: the next offset that was not passed."""
        ...

    def apply(self, batch: Batch) -> Applied: ...


class StoreShadow(CanonicalTables, Protocol):
    """A second set of canonical tables, invisible to readers until `swap`; dropped by `discard`."""

    def compare(self, catch_up: Callable[[dict[int, int]], None]) -> Difference:
        """Bring the shadow to the live position with `catch_up`, then compare, all while nothing is written."""
        ...

    def swap(self, catch_up: Callable[[dict[int, int]], None]) -> None:
        """The same, then put the shadow in the place of the live tables, in one atomic step with its position."""
        ...

    def discard(self) -> None: ...


class MemoryStore(CanonicalTables, Protocol):
    """The canonical rows, the journal and kv's own position; and the access statistics, which no rebuild touches.

    - apply_is_atomic: rows, journal and position of a batch become visible and durable together, or not at all.
    - apply_is_idempotent: records below the stored position are counted as redelivered and change nothing.
    - apply_refuses_a_gap: a run that starts behind its partition's stored position raises PositionMismatch, and
      nothing of the batch is applied.
    - apply_refuses_a_zombie: of two that apply from the same stored position one succeeds; for the other its records
      are redelivered, or it raises PositionMismatch.
    - apply_refuses_an_unknown_topic: a topic id that was never registered raises LogReplaced.
    - a_row_never_goes_back: no write replaces a row by an older version.
    - each_event_counts_once: an (id, event_id) is folded at its first position only, across batches too.
    - one_outcome_a_position: the journal has exactly one row for each position passed.
    - tombstones_stay: a deleted memory keeps its row, without payload.
    """

    def provision(self) -> Provisioned:
        """Make the tables that are missing, and bring old ones up to this version."""
        ...

    def register_topic(self, topic: str, topic_id: str, *, new_epoch: bool = False) -> int:
        """The topic id's epoch; the first id ever gets 0. Another id raises LogReplaced unless `new_epoch`."""
        ...

    def epochs(self, topic: str) -> dict[str, int]:
        """Epoch by topic id, of every incarnation of the topic that was registered."""
        ...

    def states(self, ids: Collection[str]) -> dict[str, MemoryState]: ...
    def list_states(self, *, namespace: str | None, since: int | None, limit: int) -> list[MemoryState]:
        """Live memories, newest first: by the append time of their state, then by version."""
        ...

    def scan_states(self, *, namespace: str | None = None, deleted: bool = False) -> Iterator[MemoryState]:
        """Live memories (tombstones too if `deleted`) in order of id, streamed."""
        ...

    def history(self, id: str) -> list[JournalEntry]: ...
    def journal_at(self, topic_id: str, positions: Collection[Position]) -> dict[Position, JournalEntry]: ...
    def first_positions(self, keys: Collection[EventKey]) -> dict[EventKey, JournalEntry]: ...
    def trailing_rejects(self, topic_id: str, partition: int, limit: int) -> int:
        """How many of the partition's newest positions in a row were rejected; counted up to `limit`."""
        ...

    def landing_runs(self) -> bool:
        """Whether a landing worker applies what Kafka Connect landed: it moves kv's position from outside its group."""
        ...

    def find_event(self, event_id: str) -> list[JournalEntry]: ...
    def stats(self) -> dict[str, Any]: ...

    def record_access(self, ids: Collection[str], instant: int) -> None: ...
    def access(self, ids: Collection[str]) -> dict[str, Access]: ...

    def shadow(self, topic_id: str) -> StoreShadow:
        """A new empty shadow; what an earlier one left behind is dropped first."""
        ...

    def health(self, *, deep: bool = False) -> list[Finding]: ...
    def close(self) -> None: ...
