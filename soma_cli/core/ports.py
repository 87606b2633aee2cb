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


class Run(NamedTuple):
    """Every record that the log holds of [start, end) of one partition, in offset order.

    Offsets may have gaps (compaction, the markers of transactions), so only `end` tells how far the run goes; there may
    be no record in it at all.
    """

    partition: int
    start: int
    end: int
    records: Sequence[Record]


class PositionMismatch(SomaError):
    """A partition's run starts behind its stored position: `stored` is where to go on."""

    default_code = "position_mismatch"

    def __init__(self, message: str, partition: int, stored: int) -> None:
        super().__init__(message)
        self.partition = partition
        self.stored = stored


class Fenced(SomaError):
    """Another member of the group has taken over: nothing of what was to be published was, and never will be."""

    default_code = "fenced"


class Provisioned(NamedTuple):
    """What setting up made and found, by name; `differing` tells what is not as it should be, and the command that
    would mend it. That is never changed behind the operator's back."""

    created: list[str]
    existing: list[str]
    differing: list[Finding]


class Committed(NamedTuple):
    """A consumer group's committed offset: the next one to read. `rate_per_s` is the worker's own measure, if any."""

    offset: int
    committed_at: int
    rate_per_s: float | None


class Consumer(Protocol):
    """One member of a consumer group, reading one topic.

    - `poll` returns at once with what is there, up to `limit` records; with nothing there it waits up to `timeout_s`,
      and returns [].
    - runs_join_up: a partition's run starts where its last one ended, or at the offset that `start` named when the
      partition was assigned, or that `seek` named since; its end lies behind every offset that was looked at.
    - a partition belongs to one member of the group at a time; the others stand by and take over when it ends or dies.
    - nothing is committed but by `commit`, which leaves out partitions that are not this member's any more.
    - `keep` tells the group, without taking records, that this member is alive while it works on a batch; it may be
      called from another thread than the one that works, never while `poll` runs.
    """

    def poll(self, limit: int, timeout_s: float) -> list[Run]: ...
    def keep(self) -> None: ...
    def assigned(self) -> frozenset[int]:
        """The partitions that this member has now, as far as it knows."""
        ...

    def seek(self, partition: int, offset: int) -> None: ...
    def commit(self, offsets: Mapping[int, int], rate_per_s: float | None = None) -> None: ...
    def close(self) -> None: ...


class Copier(Consumer, Protocol):
    """A consumer whose output and position are one: what it publishes is committed with its offsets, or not at all.

    - published_once: readers see the records of a committed `publish` once, and nothing of one that did not commit.
    - zombies_are_fenced: a member whose partitions were taken over since it polled raises Fenced, publishing nothing.
    """

    def publish(self, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> None:
        """Append the records and commit the offsets (next to read, by partition) in one transaction.

        Raises ServiceUnavailable where nothing was published and the same call may be made again.
        """
        ...


Assigned = Callable[[int], int]
"""The offset to begin a partition at, asked when it is assigned."""
Revoked = Callable[[frozenset[int]], None]
"""Told of partitions that go to another member, while their offsets can still be committed."""


def nothing_to_do(partitions: frozenset[int]) -> None:
    """For a consumer that commits nothing when partitions are taken from it."""


class EventLog(Protocol):
    """An append-only log of topics.

    - append_is_durable: when `append` returns, the records survive a crash of the process and of the machine.
    - append_is_all_or_error: an error may leave a prefix of the records appended, of each partition's; never a gap in
      their order. Where it may have, the error's `details["uncertain"]` is true.
    - offsets_grow: within a partition offsets only grow, and append times never fall.
    - bytes_are_kept: key, value (null too) and headers come back as they went in.
    - one_key_one_partition: records of one key lie in one partition, in the order appended.
    - the_topic_id_is_the_incarnation: it stays for the life of the topic and differs when the topic is made anew.
    - aborted_is_unseen: records of a transaction that did not commit are read by nobody.
    """

    @property
    def follows_itself(self) -> bool:
        """Whether readers bring the projections up to the log themselves, because no worker need run (embedded)."""
        ...

    def provision(self) -> Provisioned:
        """Make the topics that are missing, with their policies; never change one that is there."""
        ...

    def topics(self) -> list[str]: ...
    def topic_id(self, topic: str) -> str: ...
    def append(self, records: Sequence[NewRecord]) -> list[Appended]: ...
    def partitions_of(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """The partition that each key's records lie in."""
        ...

    def bounds(self, topic: str) -> dict[int, Bounds]: ...
    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        """Records of [start, end) in offset order, only those of `key` where given, streamed."""
        ...

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        """The first offset appended at or after the instant; the end where there is none."""
        ...

    def compacted_before(self, topic: str) -> int | None:
        """Records appended before this instant may have been compacted away; None where nothing ever is."""
        ...

    def consumer(self, group: str, topic: str, start: Assigned, revoked: Revoked = nothing_to_do) -> Consumer: ...
    def copier(self, group: str, topic: str, start: Assigned) -> Copier:
        """Raises ConfigurationError where the log has no transactions (embedded). `start` is asked only for partitions
        that have no committed offset; the others go on there."""
        ...

    def members(self, group: str) -> int:
        """How many workers of the group run now, on this machine or another."""
        ...

    def committed(self, group: str, topic: str) -> dict[int, Committed]: ...
    def stats(self) -> dict[str, Any]:
        """`where`: a place for people to look at; what else there is to say of it."""
        ...

    def health(self, *, deep: bool = False) -> list[Finding]:
        """Whether it is whole, looked at without changing anything; `deep` looks at all of it."""
        ...

    def close(self) -> None: ...


# --- the canonical store -----------------------------------------------------------------------------------------


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
        """Live memories, newest version first."""
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

    def find_event(self, event_id: str) -> list[JournalEntry]: ...
    def stats(self) -> dict[str, Any]: ...

    def record_access(self, ids: Collection[str], instant: int) -> None: ...
    def access(self, ids: Collection[str]) -> dict[str, Access]: ...

    def shadow(self, topic_id: str) -> StoreShadow:
        """A new empty shadow; what an earlier one left behind is dropped first."""
        ...

    def health(self, *, deep: bool = False) -> list[Finding]: ...
    def close(self) -> None: ...


class Cache(Protocol):
    """Copies of canonical rows that are quicker to read; may be away or empty at any time, and is never the truth.

    - put_never_goes_back: an entry is never replaced by one of an older version.
    - tombstones_are_kept: a deleted memory's entry says so, so that a late older `put` can't bring it back.
    - entries_expire: after the configured time nothing of an entry is left.

    Every method raises ServiceUnavailable where the cache is away, within its short timeout; callers go on without it.
    """

    def get(self, ids: Collection[str]) -> dict[str, MemoryState]:
        """What is known of these ids, tombstones too."""
        ...

    def put(self, states: Collection[MemoryState]) -> None: ...
    def health(self) -> list[Finding]: ...
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


PartitionOf = Callable[[Sequence[str]], list[int]]
"""The partition of the log that each memory's events lie in."""


class IndexShadow(Protocol):
    """A second collection, invisible to search until `swap`; written like the live one."""

    def identity(self) -> IndexIdentity: ...
    def adopt(self, identity: IndexIdentity) -> None: ...
    def positions(self, topic_id: str) -> dict[int, int]: ...
    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None: ...
    def compare(self, partition_of: PartitionOf) -> Difference:
        """Compare with the live collection, id by id: version, tombstone, filters and kinds of vector.

        What only one side has passed yet, by the stored positions of the memory's partition, is left out.
        """
        ...

    def swap(self, catch_up: Callable[[], None]) -> None:
        """Run `catch_up`, then put the shadow in the place of the live collection, in one atomic step with its stored
        positions. A write meanwhile waits, or goes to the old collection: then the positions lack it too."""
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

    def provision(self) -> Provisioned:
        """Make the live collection where there is none; what differs from the settings is told, not changed."""
        ...

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
