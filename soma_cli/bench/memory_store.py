"""The canonical store: folding a batch, following the log, and making the tables anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from soma_cli.bench.bare_sqlite import BareLog, BareStore
from soma_cli.bench.comparison import Comparison, Target, Workload, per_second, seconds
from soma_cli.bench.formats import bare_validator
from soma_cli.bench.workload import events
from soma_cli.core.event import MemoryEvent, event_of
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.ports import Batch, EntryRun, Run
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings, WorkerSettings
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.kv_writer import KvWriter, judge

BATCH = WorkerSettings().kv_batch_size
_REBUILD_BATCH = 2000


def _filled(folder: Path, made: list[MemoryEvent]) -> MemorySystem:
    """A system whose log holds these events, and whose store has registered it but applied nothing."""
    system = MemorySystem(Settings(data_dir=folder))
    log = system.adapters.log
    log.append([record_of(event) for event in made])
    system.adapters.store.register_topic(EVENTS_TOPIC, log.topic_id(EVENTS_TOPIC))
    return system


def _bare_store(folder: Path) -> BareStore:
    """soma's own empty tables, written without soma."""
    with MemorySystem(Settings(data_dir=folder)) as system:
        assert not system.adapters.store.positions("")
    return BareStore(folder / "store.sqlite3")


@contextmanager
def apply(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    parts, rounds = range(0, len(made), BATCH), itertools.count()

    def ours() -> float:
        with _filled(workload.folder / f"soma{next(rounds)}", made) as system:
            log, store = system.adapters.log, system.adapters.store
            topic_id, taken = log.topic_id(EVENTS_TOPIC), 0.0
            for at in parts:
                entries = [judge(record) for record in log.scan(EVENTS_TOPIC, 0, at, at + BATCH)]
                batch = Batch(topic_id, [EntryRun(0, at, at + len(entries), entries)])
                taken += seconds(lambda batch=batch: store.apply(batch))  # type: ignore[misc]
            return len(made) / taken

    def theirs() -> float:
        bare, taken = _bare_store(workload.folder / f"bare{next(rounds)}"), 0.0
        for at in parts:
            some = [event_of(orjson.loads(event.value), event.value) for event in made[at : at + BATCH]]
            taken += seconds(lambda at=at, some=some: bare.write(at, some))  # type: ignore[misc]
        bare.connection.close()
        return len(made) / taken

    yield Comparison(
        f"apply to kv: fold, rows, journal, position; {BATCH} events a batch",
        "/s",
        Target(0.8),
        ours,
        theirs,
        "executemany of the same rows into the same tables, one transaction a batch",
    )


class _BareFollower:
    """Reads, parses, validates and writes the same rows: the log to the tables without soma."""

    def __init__(self, folder: Path, made: list[MemoryEvent]) -> None:
        folder.mkdir()
        self._log = BareLog(folder / "log.sqlite3")
        self._log.append([(event.id.encode(), event.value) for event in made])
        self._store = _bare_store(folder / "store")
        self._is_valid = bare_validator()

    def rate(self, count: int, batch: int) -> float:
        def run() -> None:
            for at in range(0, count, batch):
                self._copy(at, batch)

        rate = per_second(count, run)
        self._log.connection.close()
        self._store.connection.close()
        return rate

    def _copy(self, at: int, batch: int) -> None:
        decoded = []
        for row in self._log.read(at, batch):
            document = orjson.loads(row[3])
            if not self._is_valid(document):
                raise AssertionError
            decoded.append(event_of(document, row[3]))
        self._store.write(at, decoded)


@contextmanager
def follow(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    rounds = itertools.count()

    def ours() -> float:
        with _filled(workload.folder / f"soma{next(rounds)}", made) as system:
            return per_second(len(made), system.admin.worker("kv", until_end=True).run)

    yield Comparison(
        "log to kv: a worker's whole way, sustained",
        "/s",
        Target(20_000, "figure"),
        ours,
        lambda: _BareFollower(workload.folder / f"bare{next(rounds)}", made).rate(len(made), BATCH),
        "SELECT, orjson, jsonschema-rs, executemany of the same rows",
    )


@contextmanager
def rebuild(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    rounds = itertools.count()
    with _filled(workload.folder / "soma", made) as system:
        system.apply_kv()
        yield Comparison(
            "rebuild kv: into a shadow, compared, swapped",
            "/s",
            Target(100_000, "figure"),
            lambda: per_second(len(made), lambda: system.admin.rebuild("kv")),
            lambda: _BareFollower(workload.folder / f"bare{next(rounds)}", made).rate(len(made), _REBUILD_BATCH),
            "the same as for log to kv, in batches of 2000, compared with nothing",
        )


@contextmanager
def compare(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    with _filled(workload.folder / "soma", made) as system:
        system.apply_kv()
        log, topic_id = system.adapters.log, system.adapters.log.topic_id(EVENTS_TOPIC)
        shadow = system.adapters.store.shadow(topic_id)
        writer = KvWriter(log, shadow, topic_id, bury=False)
        writer.process([Run(0, 0, len(made), list(log.scan(EVENTS_TOPIC, 0, 0, len(made))))])

        def ours() -> None:
            if shadow.compare(lambda ends: None).total:
                raise AssertionError

        yield Comparison(
            "compare kv with its shadow, rows and journal",
            "/s",
            Target(200_000, "figure"),
            lambda: per_second(len(made), ours),
            rounds=3,
        )
        shadow.discard()
