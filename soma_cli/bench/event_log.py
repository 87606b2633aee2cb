"""The embedded log: appending, reading back, and the single write that an agent makes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from soma_cli.bench.bare_sqlite import BareLog
from soma_cli.bench.comparison import Comparison, Target, Workload, per_second, seconds
from soma_cli.bench.formats import bare_validator
from soma_cli.bench.workload import events
from soma_cli.core.event import decode_event
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem

APPENDED_TOGETHER = 100
_READ_TOGETHER = 1000
_WRITES = 100


@contextmanager
def append(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    records = [record_of(event) for event in made]
    pairs = [(event.id.encode(), event.value) for event in made]
    bare = BareLog(workload.folder / "bare.sqlite3")
    parts = range(0, len(made), APPENDED_TOGETHER)
    with MemorySystem(Settings(data_dir=workload.folder / "soma")) as system:
        log = system.adapters.log

        def ours() -> None:
            for at in parts:
                log.append(records[at : at + APPENDED_TOGETHER])

        def theirs() -> None:
            for at in parts:
                bare.append(pairs[at : at + APPENDED_TOGETHER])

        yield Comparison(
            f"append, {APPENDED_TOGETHER} events a call",
            "/s",
            Target(0.6),
            lambda: per_second(len(made), ours),
            lambda: per_second(len(made), theirs),
            "sqlite3 executemany of the same bytes, WAL, synchronous=FULL",
        )
    bare.connection.close()


@contextmanager
def read(workload: Workload) -> Iterator[Comparison]:
    made = events(workload.events)
    bare = BareLog(workload.folder / "bare.sqlite3")
    bare.append([(event.id.encode(), event.value) for event in made])
    is_valid = bare_validator()

    def theirs() -> None:
        for at in range(0, len(made), _READ_TOGETHER):
            for row in bare.read(at, _READ_TOGETHER):
                if not is_valid(orjson.loads(row[3])):
                    raise AssertionError

    with MemorySystem(Settings(data_dir=workload.folder / "soma")) as system:
        log = system.adapters.log
        log.append([record_of(event) for event in made])

        def ours() -> None:
            for record in log.scan(EVENTS_TOPIC, 0, 0, len(made)):
                decode_event(record)

        yield Comparison(
            "read, decode and validate",
            "/s",
            Target(0.6),
            lambda: per_second(len(made), ours),
            lambda: per_second(len(made), theirs),
            "SELECT, orjson.loads, jsonschema-rs: no strict JSON, no event object",
        )
    bare.connection.close()


@contextmanager
def single_write(workload: Workload) -> Iterator[Comparison]:
    ours_left, theirs_left = (itertools.cycle(events(_WRITES)) for _ in range(2))
    bare = BareLog(workload.folder / "bare.sqlite3")

    def theirs() -> float:
        event = next(theirs_left)
        return seconds(lambda: bare.append([(event.id.encode(), event.value)])) * 1e3

    with MemorySystem(Settings(data_dir=workload.folder / "soma")) as system:

        def ours() -> float:
            payload = next(ours_left).payload
            return seconds(lambda: system.store(payload)) * 1e3

        ours()
        yield Comparison(
            "store one memory, process warm",
            "ms",
            Target(1.5),
            ours,
            theirs,
            "insert and commit of the same bytes, synchronous=FULL",
            rounds=_WRITES,
        )
    bare.connection.close()
