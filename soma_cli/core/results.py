"""What operations return. Field names are those of the documented JSON shapes; instants are RFC 3339 in UTC,
positions `topic/partition@offset`, durations seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soma_cli.core.record import Position


RUN_INIT = "run `soma init`"
"""The hint of a finding that something was never made."""


@dataclass(slots=True)
class Finding:
    """One thing that was looked at: `ok`, `warning` or `error`, and what to do next."""

    check: str
    status: str
    message: str
    hint: str = ""


@dataclass(slots=True)
class Outcomes:
    """What the projections made of an event; None for what is not known yet."""

    kv: str | None = None
    vector: str | None = None


@dataclass(slots=True)
class Receipt:
    """An acknowledged event. `duplicate`: the same event was there already, and nothing was appended."""

    id: str
    event_id: str
    position: str
    type: str
    namespace: str
    duplicate: bool | None
    outcomes: Outcomes = field(default_factory=Outcomes)


@dataclass(slots=True)
class Memory:
    """A live memory. `updated_at` is when its present state was appended, `created_at` when its present life began."""

    id: str
    namespace: str
    payload: dict[str, Any]
    importance: float
    created_at: str
    updated_at: str
    last_access: str | None
    access_count: int
    version: int
    last_event_id: str
    model_revision: str | None


@dataclass(slots=True)
class HistoryEntry:
    """One event of a memory. `outcome` is `pending` for what kv has not reached; `note` says why it was ignored or
    rejected; `event` is None where it is not JSON."""

    position: str
    event_id: str | None
    type: str | None
    appended_at: str
    outcome: str
    version: int
    note: str
    event: dict[str, Any] | None


@dataclass(slots=True)
class SearchHit:
    """`score` is of the mode that was used: BM25 (lexical), cosine (dense) or reciprocal rank fusion (hybrid)."""

    id: str
    score: float
    namespace: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Reject:
    line: int
    code: str
    pointer: str | None
    message: str


@dataclass(slots=True)
class ProduceResult:
    """`accepted` lines are in the log now: `appended` by this run, or `duplicates`: there since an earlier
    run or line."""

    accepted: int = 0
    rejected: int = 0
    appended: int = 0
    duplicates: int = 0
    first_position: str | None = None
    last_position: str | None = None
    rejects: list[Reject] = field(default_factory=list)
    _partitions: set[int] = field(default_factory=set, init=False, repr=False, compare=False)
    """Of those appended; an underscore keeps a field out of JSON."""

    @property
    def partitions(self) -> int:
        """How many partitions the appended events are in."""
        return len(self._partitions)

    def count(self, positions: Sequence[Position]) -> None:
        """These were appended, in this order."""
        self.appended += len(positions)
        self.first_position = self.first_position or str(positions[0])
        self.last_position = str(positions[-1])
        self._partitions.update(position.partition for position in positions)


@dataclass(slots=True)
class ConsumeResult:
    worker: str
    read: int
    applied: int
    duplicate: int
    ignored: int
    rejected: int
    redelivered: int
    last_positions: dict[str, int]
    elapsed_s: float


@dataclass(slots=True)
class Rebuild:
    """A projection made anew from the log, beside the live one. `differences` counts what differs, by kind."""

    into: str
    events: int
    compared: int
    differences: dict[str, int]
    examples: dict[str, list[str]]
    executed: bool
    position: dict[str, int]
    elapsed_s: float


@dataclass(slots=True)
class Selected:
    """A memory that a plan selects, and what it was scored on; `text` is the beginning of its text."""

    id: str
    version: int
    score: float
    terms: dict[str, float]
    namespace: str
    last_access: str | None
    access_count: int
    importance: float
    created_at: str
    text: str


@dataclass(slots=True)
class Skipped:
    id: str
    version: int
    note: str


@dataclass(slots=True)
class PrunePlan:
    """`considered` memories were scored, `matching` of them above the threshold; `selected` are these, or as many of
    them as were asked for. After execution `appended` counts the deletes that were sent, `skipped` names those that
    found their memory changed meanwhile. `unread_selected_after_hours` is for a memory of importance 1, None = never.
    """

    policy: str
    now: str
    threshold: float
    weights: dict[str, float]
    considered: int
    matching: int
    selected: list[Selected]
    executed: bool = False
    appended: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    unread_selected_after_hours: float | None = None


@dataclass(slots=True)
class ScoreResult:
    """`prunes_at` is when the memory would be pruned if nobody reads it meanwhile; None for never."""

    score: float
    prune: bool
    prunes_at: str | None
    threshold: float
    policy: str
    now: str
    terms: dict[str, float]
    inputs: dict[str, Any]
    weights: dict[str, float]


@dataclass(slots=True)
class PartitionLag:
    topic: str
    partition: int
    committed: int
    end: int
    lag: int


@dataclass(slots=True)
class GroupLag:
    group: str
    state: str
    lag: int
    oldest_age_s: float | None
    rate_per_s: float | None
    eta_s: float | None
    partitions: list[PartitionLag]
    unserved: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Breach:
    group: str
    what: str
    value: float
    limit: float


@dataclass(slots=True)
class HeldBackLag:
    """So many offsets that an open transaction keeps from all readers, and how old the first of them is."""

    topic: str
    partition: int
    offsets: int
    oldest_age_s: float | None


@dataclass(slots=True)
class LagReport:
    groups: list[GroupLag]
    breaches: list[Breach]
    held_back: list[HeldBackLag] = field(default_factory=list)


@dataclass(slots=True)
class Letter:
    """A dead letter: `position` is its own, `source` the failed record's. `value` is None where it is not JSON."""

    position: str
    source: str
    code: str
    message: str
    attempts: int
    worker: str
    failed_at: str
    value_base64: str | None
    value: Any
    pointer: str | None
    key: str | None
    headers: list[dict[str, str | None]]


@dataclass(slots=True)
class LetterResult:
    """What a retry or discard did: `retried` (with the new event's position), `rejected` again (with its letter's new
    position), or `discarded`."""

    source: str
    result: str
    position: str | None
    attempts: int
    message: str


@dataclass(slots=True)
class WaitResult:
    position: str
    outcomes: Outcomes
    elapsed_s: float


@dataclass(slots=True)
class TraceStep:
    """One place where an event was looked for: `log`, `kv`, `vector`, `dlq` or `memory`; `at` is when it got there.

    `position` names the occurrence of the event: one that was sent twice lies at two.
    """

    where: str
    state: str
    at: str | None
    detail: str
    position: str


@dataclass(slots=True)
class TraceResult:
    """`position` is the first occurrence's; `id` the memory's, None where a rejected event names none."""

    event_id: str
    id: str | None
    type: str | None
    position: str
    steps: list[TraceStep]


@dataclass(slots=True)
class InitResult:
    """`created` and `existing` name parts of the data folder, topics, tables and collections; `differing` ones are not
    as they should be, and were left so. `new_epoch`: a replaced log was accepted just now."""

    data_dir: str
    created: list[str]
    existing: list[str]
    epoch: int
    topic_id: str
    new_epoch: bool
    differing: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class DoctorReport:
    healthy: bool
    findings: list[Finding]
