"""The Connect path beside the kv worker: the same topic into the same tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psycopg

from soma_cli.bench.cluster.bare_kafka import fill
from soma_cli.bench.cluster.kv import worker_rate
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE
from soma_cli.bench.comparison import Comparison, NotHere, Workload
from soma_cli.core.errors import SomaError
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem

_PATIENCE_S = 120.0
_ANSWER_S = 30.0
_LOOK_S = 0.05
_ROWS = """
SELECT count(*), md5(string_agg(made.row::text, '' ORDER BY made.row::text)) FROM (
    SELECT (id, version, created_at, updated_at, deleted, last_event_id, payload_json) AS row FROM memories
    UNION ALL
    SELECT (partition, version, id, event_id, appended_at, outcome, event, type) FROM memory_events
) AS made
"""


@contextmanager
def landing(workload: Workload) -> Iterator[Comparison]:
    """Both end with the same rows, or the benchmark fails."""
    if not workload.settings.connect.url:
        raise NotHere("connect.url is not set")
    more: dict[str, float] = {}
    ended: dict[str, tuple[int, str]] = {}
    with place(workload) as at:
        count = fill(at.settings, at.topic, MIDDLE.events(workload))

        def by_connect() -> float:
            settings = at.tables()
            with _connector(settings) as connected:
                more["rows landed a second, with nothing that applies them"] = _landed(at, connected, count)
                rate = worker_rate(connected, count, "landing")
            more["from an empty table, together"] = _together(at, count)
            _same(ended, "the Connect path", settings)
            return rate

        def by_kv() -> float:
            settings = at.tables()
            rate = worker_rate(settings, count)
            _same(ended, "kv", settings)
            return rate

        yield Comparison(
            "landed rows to tables, events of 1 KB: the landing worker over what Kafka Connect landed",
            "/s",
            None,
            by_connect,
            by_kv,
            "the kv worker over the same topic",
            more=more,
        )


def _together(at: Place, count: int) -> float:
    """Connect lands while the worker applies: events a second from the first landed row to the last applied event."""
    with _connector(at.tables()) as settings:
        _wait_for_rows(settings, 1)
        began = time.perf_counter()
        worker_rate(settings, count, "landing")
        return count / (time.perf_counter() - began)


def _landed(at: Place, settings: Settings, count: int) -> float:
    """From the first rows on: starting a connector comes before."""
    first, began = _wait_for_rows(settings, 1), time.perf_counter()
    _wait_for_rows(settings, count)
    return (count - first) / (time.perf_counter() - began or 1.0)


def _wait_for_rows(settings: Settings, count: int) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    with psycopg.connect(settings.store.dsn or "", autocommit=True) as connection:
        while True:
            row = connection.execute("SELECT count(*) FROM memory_landing").fetchone()
            if row and row[0] >= count:
                return int(row[0])
            if time.monotonic() > deadline:
                raise NotHere(f"Kafka Connect landed {row[0] if row else 0} of {count} rows in {_PATIENCE_S:g} s")
            time.sleep(_LOOK_S)


@contextmanager
def _connector(settings: Settings) -> Iterator[Settings]:
    """One of the benchmark's own, named after the schema, and removed afterwards."""
    name = settings.log.group_prefix
    chosen = replace(settings, connect=replace(settings.connect, connector=name, stall_s=_PATIENCE_S))
    try:
        with MemorySystem(chosen) as system:
            system.admin.connect.apply()
        yield chosen
    except SomaError as error:
        raise NotHere(error.message) from error
    finally:
        httpx.delete(f"{settings.connect.url}/connectors/{name}", timeout=_ANSWER_S)


def _same(ended: dict[str, tuple[int, str]], who: str, settings: Settings) -> None:
    with psycopg.connect(settings.store.dsn or "") as connection:
        row = connection.execute(_ROWS).fetchone()
    assert row is not None
    ended[who] = (row[0], row[1])
    if len(set(ended.values())) > 1:
        raise AssertionError(ended)
