"""The search index, live or as a shadow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from soma_cli.core.ports.setup import Provisioned
from soma_cli.core.ports.store import Difference
from soma_cli.core.results import Finding


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
