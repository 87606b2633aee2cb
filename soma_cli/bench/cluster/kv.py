"""Canonical rows in PostgreSQL: applying batches, and the kv worker's whole way from topic to tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import orjson

from soma_cli.bench.cluster import follower
from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.bare_postgres import BareTables, Source, connected
from soma_cli.bench.cluster.bare_postgres import Place as Origin
from soma_cli.bench.cluster.place import place
from soma_cli.bench.cluster.sizes import MIDDLE, Size
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload, per_second, seconds
from soma_cli.core.event import MemoryEvent
from soma_cli.core.garbage import collected_rarely
from soma_cli.core.instants import now_us
from soma_cli.core.ports import Batch, EntryRun
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.settings import CacheSettings, Settings, WorkerSettings
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.kv_writer import judge
from soma_cli.core.workers.loop import Status

BATCH = WorkerSettings().kv_batch_size
_ONE_BY_ONE = 500


@contextmanager
def apply(workload: Workload, size: Size = MIDDLE) -> Iterator[Comparison]:
    records, sources = _origins(size.events(workload))
    with place(workload) as at:
        yield Comparison(
            f"apply events of {size.shown}: fold, guarded rows, journal, position; {BATCH} a batch",
            "/s",
            Target(0.8),
            lambda: _apply_all(at.tables(), records),
            lambda: _write_all(at.tables(), sources),
            "unnest with binary arrays of the same rows, the same guard, one transaction a batch",
        )


@contextmanager
def one_by_one(workload: Workload) -> Iterator[Comparison]:
    records, sources = _origins(MIDDLE.events(workload))
    some = sources[:_ONE_BY_ONE]

    def theirs() -> float:
        with connected(at.tables()) as connection:
            tables = BareTables(connection)

            def run() -> None:
                for source in some:
                    tables.write_one(source)

            return per_second(len(some), run)

    with place(workload) as at:
        yield Comparison(
            "the same, against one row a statement",
            "/s",
            Target(8.0),
            lambda: _apply_all(at.tables(), records),
            theirs,
            "prepared statements for row, journal and position, committed event by event",
        )


def _origins(made: list[MemoryEvent]) -> tuple[list[Record], list[Source]]:
    now = now_us() // 1000
    records = [
        Record(EVENTS_TOPIC, 0, offset, now * 1000, event.id.encode(), event.value) for offset, event in enumerate(made)
    ]
    sources = [(Origin(0, offset, now), orjson.loads(event.value), event.value) for offset, event in enumerate(made)]
    return records, sources


def _apply_all(settings: Settings, records: Sequence[Record]) -> float:
    """Judging the records is not counted: the baseline has its documents, too."""
    with MemorySystem(settings) as system, collected_rarely():  # as `soma consume` does
        store, topic_id, taken = system.adapters.store, system.adapters.log.topic_id(EVENTS_TOPIC), 0.0
        for start in range(0, len(records), BATCH):
            entries = [judge(record) for record in records[start : start + BATCH]]
            batch = Batch(topic_id, [EntryRun(0, start, start + len(entries), entries)])
            taken += seconds(lambda batch=batch: store.apply(batch))  # type: ignore[misc]
    return len(records) / taken


def _write_all(settings: Settings, sources: Sequence[Source]) -> float:
    with connected(settings) as connection:
        tables = BareTables(connection)

        def run() -> None:
            for start in range(0, len(sources), BATCH):
                tables.write(sources[start : start + BATCH])

        return per_second(len(sources), run)


@contextmanager
def follow(workload: Workload, size: Size = MIDDLE, *, cached: bool = False) -> Iterator[Comparison]:
    """`cached`: with new states written through to the cache, as the worker does where there is one."""
    if cached and workload.settings.cache.kind == "none":
        raise NotHere("no cache is configured")
    with place(workload) as at:
        count = fill(at.settings, at.topic, size.events(workload))
        through = ", and through to the cache" if cached else ""

        def ours() -> float:
            settings = at.tables()
            return worker_rate(settings if cached else replace(settings, cache=CacheSettings()), count)

        yield Comparison(
            f"topic to tables{through}, events of {size.shown}: the kv worker's whole way, sustained",
            "/s",
            Target(20_000, "figure") if size is MIDDLE and not cached else None,
            ours,
            lambda: follower.follow(at, count, BATCH),
            "consume, orjson, jsonschema-rs, unnest of the same rows, outside of a group, no cache",
        )


def worker_rate(settings: Settings, count: int, name: str = "kv") -> float:
    """From the end of the first batch on: joining the group comes before."""
    told: list[tuple[float, int]] = []

    def report(status: Status) -> None:
        if status.state == "running":
            told.append((time.perf_counter(), status.tally.read))

    with MemorySystem(settings) as system:
        worker = system.admin.worker(name, until_end=True, report=report)
        with collected_rarely():  # as `soma consume` does
            worker.run()
    if worker.status.tally.applied != count:
        raise AssertionError(worker.status.tally)
    (began, first), (ended, last) = told[0], told[-1]
    return (last - first) / (ended - began) if last > first else count / (ended - began or 1.0)
