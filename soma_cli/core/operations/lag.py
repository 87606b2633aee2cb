"""How far the projections are behind the log. Looks only: nothing is applied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from soma_cli.core.instants import MICROSECONDS
from soma_cli.core.operations.projections import COPIES, group_name, registered_epoch
from soma_cli.core.ports import Bounds, Committed, EventLog, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.results import Breach, GroupLag, HeldBackLag, LagReport, PartitionLag
from soma_cli.core.settings import Settings
from soma_cli.core.workers.names import KV, VECTOR

ACTIVE, IDLE, STOPPED, UNSERVED, OUT_OF_RANGE = "active", "idle", "stopped", "unserved", "out_of_range"
"""Workers run; nothing to do; behind, and nobody works on it; workers run, but not on all partitions; behind the log's
end: the log lost what was passed."""


def lag(
    settings: Settings,
    log: EventLog,
    store: MemoryStore,
    index: VectorIndex,
    *,
    now: int,
    threshold: int | None = None,
    max_age_s: float | None = None,
) -> LagReport:
    """Records between each projection's own stored position and the end; `now` is in microseconds.

    More than `threshold` records behind, an oldest record of more than `max_age_s`, and, where either is asked for, a
    position behind the end are breaches. What an open transaction holds back counts in both. Raises LogReplaced.
    """
    registered_epoch(log, store)
    topic_id = log.topic_id(EVENTS_TOPIC)
    stored: dict[str, Callable[[], dict[int, int]]] = {
        KV: lambda: store.positions(topic_id),
        VECTOR: lambda: index.positions(topic_id),
    }
    if not log.follows_itself:
        stored |= {name: partial(committed_offsets, log, group_name(settings, name)) for name in COPIES}
    landing_runs = store.landing_runs()
    groups = [
        group_lag(log, group_name(settings, name), positions(), now, landing_runs=landing_runs and name == KV)
        for name, positions in stored.items()
    ]
    held = _held_back(log, now)
    breaches = [breach for group in groups for breach in _breaches(group, held, threshold, max_age_s)]
    return LagReport(groups, breaches, held)


def _held_back(log: EventLog, now: int) -> list[HeldBackLag]:
    """Of every partition where there is some."""
    return [
        HeldBackLag(
            EVENTS_TOPIC,
            partition,
            held.offsets,
            None if held.appended_at is None else max(0, now - held.appended_at) / MICROSECONDS,
        )
        for partition, held in log.held_back(EVENTS_TOPIC).items()
    ]


def committed_offsets(log: EventLog, group: str) -> dict[int, int]:
    """The stored positions of workers that keep them in their group."""
    return {partition: row.offset for partition, row in log.committed(group, EVENTS_TOPIC).items()}


def group_lag(
    log: EventLog, group: str, positions: dict[int, int], now: int, *, landing_runs: bool = False
) -> GroupLag:
    """One group's lag, from its projection's stored positions. A landing worker serves all partitions, from no group.

    Positions were read before the ends, so that a worker at work can't seem to be past the end.
    """
    partitions = [
        _partition_lag(partition, positions.get(partition, 0), bounds)
        for partition, bounds in log.bounds(EVENTS_TOPIC).items()
    ]
    total, in_group = sum(partition.lag for partition in partitions), log.members(group) > 0
    unserved = sorted(log.unserved(group, EVENTS_TOPIC)) if in_group and not landing_runs else []
    rate = _rate(log.committed(group, EVENTS_TOPIC)) if in_group else None
    return GroupLag(
        group=group,
        state=_state(partitions, total, in_group or landing_runs, unserved),
        lag=total,
        oldest_age_s=_oldest_age_s(log, partitions, now),
        rate_per_s=rate,
        eta_s=total / rate if rate else None,
        partitions=partitions,
        unserved=unserved,
    )


def _partition_lag(partition: int, committed: int, bounds: Bounds) -> PartitionLag:
    passed = max(committed, bounds.beginning)
    return PartitionLag(EVENTS_TOPIC, partition, committed, bounds.end, max(0, bounds.end - passed))


def _state(partitions: list[PartitionLag], total: int, working: bool, unserved: list[int]) -> str:
    if any(partition.committed > partition.end for partition in partitions):
        return OUT_OF_RANGE
    if working:
        return UNSERVED if unserved else ACTIVE
    return STOPPED if total else IDLE


def _rate(committed: dict[int, Committed]) -> float | None:
    """The newest commit's: a worker writes its one rate with each of its partitions."""
    newest = max(committed.values(), key=lambda row: row.committed_at, default=None)
    return newest.rate_per_s if newest else None


def _oldest_age_s(log: EventLog, partitions: list[PartitionLag], now: int) -> float | None:
    behind = (partition for partition in partitions if partition.lag)
    unpassed = (next(log.scan(row.topic, row.partition, row.committed, row.end), None) for row in behind)
    ages = [max(0, now - record.appended_at) / MICROSECONDS for record in unpassed if record is not None]
    return max(ages, default=None)


def _breaches(group: GroupLag, held: list[HeldBackLag], threshold: int | None, max_age_s: float | None) -> list[Breach]:
    found = []
    behind = group.lag + sum(row.offsets for row in held)
    if threshold is not None and behind > threshold:
        found.append(Breach(group.group, "lag", behind, threshold))
    oldest_age_s = max([group.oldest_age_s or 0, *(row.oldest_age_s or 0 for row in held)])
    if max_age_s is not None and oldest_age_s > max_age_s:
        found.append(Breach(group.group, "oldest_age_s", oldest_age_s, max_age_s))
    if group.state == OUT_OF_RANGE and (threshold is not None or max_age_s is not None):
        worst = max(group.partitions, key=lambda row: row.committed - row.end)
        found.append(Breach(group.group, OUT_OF_RANGE, worst.committed, worst.end))
    return found
