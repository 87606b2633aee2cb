"""The roles that servers and files play, and what each promises.

Offsets: `start` and `end` of a range follow the Kafka habit: `start` is the first offset in it, `end` the first one
behind it. A *stored position* is such an end: the next offset that a projection has not passed. Instants are
microseconds since the epoch. Every method may raise ServiceUnavailable (try again) and ConfigurationError (do not);
what else it raises is said with it.

Each promise below has a contract test that carries its name and runs against every adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from soma_cli.core.errors import SomaError
from soma_cli.core.memory import Decision, Entry, EventKey, MemoryState, Outcome
from soma_cli.core.record import NewRecord, Position, Record
from soma_cli.core.results import Finding

# --- the log -----------------------------------------------------------------------------------------------------


class Appended(NamedTuple):
    position: Position
    appended_at: int


class Bounds(NamedTuple):
    """`beginning` is the first offset still held, `end` the next one to be given out."""

    beginning: int
    end: int


class PositionMismatch(SomaError):
    """A batch starts behind the stored position: `stored` is where to go on."""

    default_code = "position_mismatch"

    def __init__(self, message: str, stored: int) -> None:
        super().__init__(message)
        self.stored = stored


class Committed(NamedTuple):
    """A consumer group's committed offset: the next one to read. `rate_per_s` is the worker's own measure, if any."""

    offset: int
    committed_at: int
    rate_per_s: float | None


class Consumer(Protocol):
    """One member of a consumer group, reading one topic.

    - `poll` returns at once with what is there, up to `limit` records in offset order within each partition; with
      nothing there it waits up to `timeout_s`, and returns [].
    - reading begins, for each partition as it is assigned, at the offset that the `start` function given to
      `EventLog.consumer` names.
    - a partition belongs to one member of the group at a time; the others stand by and take over when it ends or dies.
    - nothing is committed but by `commit`.
    """

    def poll(self, limit: int, timeout_s: float) -> list[Record]: ...
    def seek(self, partition: int, offset: int) -> None: ...
    def commit(self, offsets: Mapping[int, int], rate_per_s: float | None = None) -> None: ...
    def close(self) -> None: ...


class EventLog(Protocol):
    """An append-only log of topics.

    - append_is_durable: when `append` returns, the records survive a crash of the process and of the machine.
    - append_is_all_or_error: an error may leave a prefix of the records appended, never a gap in their order.
    - offsets_grow: within a partition offsets only grow, and append times never fall.
    - bytes_are_kept: key, value (null too) and headers come back as they went in.
    - one_key_one_partition: records of one key lie in one partition, in the order appended.
    - the_topic_id_is_the_incarnation: it stays for the life of the topic and differs when the topic is made anew.
    """

    def topics(self) -> list[str]: ...
    def topic_id(self, topic: str) -> str: ...
    def append(self, records: Sequence[NewRecord]) -> list[Appended]: ...
    def bounds(self, topic: str) -> dict[int, Bounds]: ...
    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        """Records of [start, end) in offset order, only those of `key` where given, streamed."""
        ...

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        """The first offset appended at or after the instant; the end where there is none."""
        ...

    def consumer(self, group: str, topic: str, start: Callable[[int], int]) -> Consumer: ...
    def members(self, group: str) -> int:
        """How many workers of the group run now, on this machine or another."""
        ...

    def committed(self, group: str, topic: str) -> dict[int, Committed]: ...
    def health(self, *, deep: bool = False) -> list[Finding]:
        """Whether it is whole, looked at without changing anything; `deep` looks at all of it."""
        ...

    def close(self) -> None: ...


# --- the canonical store -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of one partition for `MemoryStore.apply`: every record of [start, end) that the log holds."""

    topic_id: str
    partition: int
    start: int
    end: int
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did. `redelivered` records had been passed before and were left alone."""

    decisions: list[Decision]
    redelivered: int
    position: int


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
    - apply_refuses_a_gap: a batch that starts behind the stored position raises PositionMismatch.
    - apply_refuses_an_unknown_topic: a topic id that was never registered raises LogReplaced.
    - a_row_never_goes_back: no write replaces a row by an older version.
    - each_event_counts_once: an (id, event_id) is folded at its first position only, across batches too.
    - one_outcome_a_position: the journal has exactly one row for each position passed.
    - tombstones_stay: a deleted memory keeps its row, without payload.
    """

    def register_topic(self, topic: str, topic_id: str, *, new_epoch: bool = False) -> int:
        """The topic id's epoch; the first id ever gets 0. Another id raises LogReplaced unless `new_epoch`."""
        ...

    def epochs(self, topic: str) -> dict[str, int]:
        """Epoch by topic id, of every incarnation of the topic that was registered."""
        ...

    def states(self, ids: Collection[str]) -> dict[str, MemoryState]: ...
    def list_states(self, *, namespace: str | None, since: int | None, limit: int) -> list[MemoryState]:
        """Live memories, newest version first."""
        ...

    def scan_states(self, *, namespace: str | None = None, deleted: bool = False) -> Iterator[MemoryState]:
        """Live memories (tombstones too if `deleted`) in order of id, streamed."""
        ...

    def history(self, id: str) -> list[JournalEntry]: ...
    def journal_at(self, topic_id: str, positions: Collection[Position]) -> dict[Position, JournalEntry]: ...
    def first_positions(self, keys: Collection[EventKey]) -> dict[EventKey, JournalEntry]: ...
    def trailing_rejects(self, limit: int) -> int:
        """How many of the newest positions in a row were rejected; counted up to `limit`."""
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


# --- the index ---------------------------------------------------------------------------------------------------


class IndexIdentity(NamedTuple):
    """What the live collection holds. Both None until the first embedding settles them, where settings do not."""

    model_revision: str | None
    dimension: int | None


class IndexPoint(NamedTuple):
    """A memory as the index holds it. A deleted one has neither text nor embedding and is found by nobody."""

    id: str
    version: int
    deleted: bool
    namespace: str
    importance: float
    created_at: int
    updated_at: int
    text: str
    embedding: list[float] | None


SearchMode = Literal["lexical", "dense", "hybrid"]


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """`text` for lexical, `embedding` for dense, both for hybrid (reciprocal rank fusion). Bounds are inclusive."""

    mode: SearchMode
    limit: int
    text: str = ""
    embedding: list[float] | None = None
    namespace: str | None = None
    importance_min: float | None = None
    created_from: int | None = None
    created_to: int | None = None


class Hit(NamedTuple):
    id: str
    score: float
    version: int


class PointSummary(NamedTuple):
    id: str
    version: int
    deleted: bool
    namespace: str
    importance: float
    dense: bool


class IndexShadow(Protocol):
    """A second collection, invisible to search until `swap`; written like the live one."""

    def identity(self) -> IndexIdentity: ...
    def adopt(self, identity: IndexIdentity) -> None: ...
    def positions(self, topic_id: str) -> dict[int, int]: ...
    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None: ...
    def compare(self) -> Difference:
        """Compare with the live collection, id by id: version, tombstone, filters and kinds of vector."""
        ...

    def swap(self, catch_up: Callable[[], None]) -> None:
        """Hold the live collection still, run `catch_up`, then put the shadow in its place in one atomic step."""
        ...

    def discard(self) -> None: ...


class VectorIndex(Protocol):
    """The search index: one point a memory, in a collection of one embedding model and revision.

    - write_never_goes_back: a point is never replaced by one of an older version; an equal one is written again.
    - tombstones_stay: a deleted memory keeps its point, so that a late older write can't bring it back; search never
      returns it.
    - position_follows_points: the stored position moves only after the points are durable, and never falls.
    - one_model_a_collection: an embedding of another dimension raises ValueRefused; it is never cut or padded.
    - search_filters: namespace, importance and time bounds hold for every hit, and `limit` counts after filtering.
    - shadow_is_invisible: nothing written to a shadow is seen before `swap`; after it, nothing of the old one.
    """

    def identity(self) -> IndexIdentity: ...
    def adopt(self, identity: IndexIdentity) -> None:
        """Settle model revision and dimension, once. Another identity than the settled one raises ValueRefused."""
        ...

    def positions(self, topic_id: str) -> dict[int, int]: ...
    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        """Upsert the points, then store the positions. Raises ValueRefused for what the index can't hold."""
        ...

    def search(self, query: IndexQuery) -> list[Hit]: ...
    def versions(self, ids: Collection[str]) -> dict[str, int]: ...
    def scan(self) -> Iterator[PointSummary]: ...
    def count(self) -> int:
        """Points of live memories; tombstones are not counted."""
        ...

    def stats(self) -> dict[str, Any]: ...
    def shadow(self, identity: IndexIdentity) -> IndexShadow:
        """A new empty shadow; what an earlier one left behind is dropped first."""
        ...

    def health(self, *, deep: bool = False) -> list[Finding]: ...
    def release(self) -> None:
        """Let go of what other processes may be waiting for. The next use takes it again."""
        ...

    def close(self) -> None: ...


class Embedder(Protocol):
    """Texts to vectors.

    - order_is_kept: one vector a text, in the order of the texts, all of one dimension.
    - transient_or_not: ServiceUnavailable where a retry may help, ConfigurationError (key, model) or ValueRefused
      (some of these texts) where it will not; its `details["refused"]` lists every refused text as
      {"index", "message"}, so that the caller can embed the others.
    """

    @property
    def model_revision(self) -> str: ...
    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...
    def close(self) -> None: ...
