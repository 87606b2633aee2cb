"""Appending to the brokers: many events by `produce`, and the single write that an agent waits for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import orjson

from soma_cli.bench.cluster.bare_kafka import must_succeed, producer, send
from soma_cli.bench.cluster.place import Place, place
from soma_cli.bench.cluster.sizes import MIDDLE, Size
from soma_cli.bench.comparison import Comparison, NotHere, Target, Workload, per_second, seconds
from soma_cli.bench.formats import bare_validator
from soma_cli.bench.workload import payloads
from soma_cli.core.instants import format_instant, now_us
from soma_cli.core.system import MemorySystem

_WRITES = 200


@contextmanager
def produce(workload: Workload, size: Size = MIDDLE) -> Iterator[Comparison]:
    lines = [orjson.dumps({"payload": item}) for item in payloads(size.count(workload), size.text_bytes)]
    with place(workload) as at, MemorySystem(at.settings) as system:

        def ours() -> None:
            if system.produce(lines).appended != len(lines):
                raise NotHere("not every line was appended")

        ours()
        _bare_loop(at, lines)
        yield Comparison(
            f"produce lines of {size.shown}, validated, acks=all",
            "/s",
            Target(0.5),
            lambda: per_second(len(lines), ours),
            lambda: per_second(len(lines), lambda: _bare_loop(at, lines)),
            "orjson, jsonschema-rs, an idempotent producer with linger 5 ms, one flush at the end",
        )


def _bare_loop(at: Place, lines: Sequence[bytes]) -> None:
    """Parses each line, builds the event, validates, encodes and sends it."""
    is_valid, sender = bare_validator(), producer(at.settings, linger_ms=5)
    for number, line in enumerate(lines):
        document = _event(orjson.loads(line)["payload"])
        if not is_valid(document):
            raise AssertionError
        send(sender, at.topic, document["id"], orjson.dumps(document), must_succeed)
        if number % 1000 == 0:
            sender.poll(0)
    sender.flush()


def _event(payload: object) -> dict[str, Any]:
    common: dict[str, Any] = {"event_id": str(uuid4()), "id": str(uuid4()), "namespace": "default", "type": "created"}
    return common | {"timestamp": format_instant(now_us()), "payload": payload}


@contextmanager
def ack(workload: Workload) -> Iterator[Comparison]:
    ours_left, theirs_left = (itertools.cycle(payloads(_WRITES, MIDDLE.text_bytes)) for _ in range(2))
    with place(workload) as at, MemorySystem(at.settings) as system:
        sender = producer(at.settings, linger_ms=0)

        def ours() -> float:
            payload = next(ours_left)
            return seconds(lambda: system.store(payload)) * 1e3

        def theirs() -> float:
            document = _event(next(theirs_left))
            value = orjson.dumps(document)

            def write() -> None:
                send(sender, at.topic, document["id"], value, must_succeed)
                sender.flush()

            return seconds(write) * 1e3

        for _ in range(10):
            ours(), theirs()
        yield Comparison(
            "store one memory of 1 KB, acknowledged, process warm",
            "ms",
            Target(1.5),
            ours,
            theirs,
            "produce and flush of the same bytes, linger 0, idempotent",
            rounds=_WRITES,
        )
