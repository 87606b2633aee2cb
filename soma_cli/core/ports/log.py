"""The log: topics, the members of groups that read them, and copying within transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from soma_cli.core.errors import SomaError
from soma_cli.core.ports.setup import Provisioned
from soma_cli.core.record import NewRecord, Position, Record
from soma_cli.core.results import Finding


class Appended(NamedTuple):
    position: Position
    appended_at: int


class Bounds(NamedTuple):
    """`beginning` is the first offset still held, `end` the next one to be given out."""

    beginning: int
    end: int


class HeldBack(NamedTuple):
    """So many offsets from the end on, and when the first of them was appended, where that is known."""

    offsets: int
    appended_at: int | None


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
    """Another member of the group has taken over: nothing of what was to be published was, and never will be.

    The copier that raised it can be polled further, and goes on at the group's committed offsets with what is left.
    """

    default_code = "fenced"


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

    One batch at a time: `poll`, then `publish` of what it gave, as often as it says that nothing was published, and
    only then the next `poll`; or of its parts, one after the other. What is published belongs to the membership in
    which its batch was polled.

    - published_once: readers see the records of a committed `publish` once, and nothing of one that did not commit.
    - zombies_are_fenced: a member whose partitions were taken over since it polled raises Fenced, publishing nothing.
    """

    def publish(self, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> None:
        """Append the records and commit the offsets (next to read, by partition) in one transaction.

        Raises ServiceUnavailable where nothing was published and the same call may be made again, or one with less of
        the batch; where its `details["uncertain"]` is true, only the same call: it finds out whether this one was done.
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
    def topic_id(self, topic: str, *, anew: bool = False) -> str:
        """May be remembered from before; `anew` asks again."""
        ...

    def append(self, records: Sequence[NewRecord]) -> list[Appended]: ...
    def partitions_of(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """The partition that each key's records lie in."""
        ...

    def bounds(self, topic: str, reaching: Mapping[int, int] | None = None) -> dict[int, Bounds]:
        """`reaching`, by partition: an end below is asked for again, for some seconds, before it is believed: a broker
        that was cut off may give an old one for a moment."""
        ...

    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        """Records of [start, end) in offset order, only those of `key` where given, streamed."""
        ...

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        """The first offset appended at or after the instant; the end where there is none."""
        ...

    def compacted_before(self, topic: str) -> int | None:
        """Records appended before this instant may have been compacted away; None where nothing ever is."""
        ...

    def consumer(self, group: str, topic: str, start: Assigned, revoked: Revoked = nothing_to_do) -> Consumer:
        """What `start` raises comes from here where the partition is free at once (embedded), and then there is no
        member; otherwise from the `poll` that finds it assigned, and the next `poll` asks again."""
        ...

    def copier(self, group: str, topic: str, start: Assigned) -> Copier:
        """Raises ConfigurationError where the log has no transactions (embedded). `start` is asked only for partitions
        that have no committed offset; the others go on there."""
        ...

    def members(self, group: str) -> int:
        """How many workers of the group run now, on this machine or another."""
        ...

    def unserved(self, group: str, topic: str) -> frozenset[int]:
        """The partitions that no member has of a group that has members; some seconds after they were to be shared out
        it is told."""
        ...

    def held_back(self, topic: str) -> dict[int, HeldBack]:
        """What a transaction that is open now keeps from all readers, by partition; no bounds count it."""
        ...

    def committed(self, group: str, topic: str) -> dict[int, Committed]: ...
    def stats(self) -> dict[str, Any]:
        """`where`: a place for people to look at; what else there is to say of it."""
        ...

    def health(self, *, deep: bool = False) -> list[Finding]:
        """Whether it is whole, looked at without changing anything; `deep` looks at all of it."""
        ...

    def close(self) -> None: ...
