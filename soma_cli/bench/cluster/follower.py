"""The baseline of a worker: topic to tables in a plain loop, without soma."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson
from confluent_kafka import Message

from soma_cli.bench.cluster import bare_kafka
from soma_cli.bench.cluster.bare_postgres import BareTables, Place, Source, connected
from soma_cli.bench.cluster.place import Place as Servers
from soma_cli.bench.formats import bare_validator


def follow(at: Servers, count: int, batch: int, *, copied: bool = False) -> float:
    """Events a second from the first batch on: read, parse, validate, and write the same rows, by unnest or by COPY."""
    is_valid = bare_validator()
    with connected(at.tables()) as connection, bare_kafka.reader(at.settings, at.topic) as consumer:
        tables = BareTables(connection)
        if copied:
            tables.prepare_copy()
        began = 0.0
        for some in bare_kafka.messages(consumer, count, batch):
            began = began or time.perf_counter()
            events = sources(some, is_valid)
            tables.copy(events) if copied else tables.write(events)
        if copied:
            tables.finish_copy()
        return count / (time.perf_counter() - began)


def sources(some: Sequence[Message], is_valid: Callable[[object], bool]) -> list[Source]:
    made = []
    for message in some:
        value = message.value() or b""
        document = orjson.loads(value)
        if not is_valid(document):
            raise AssertionError
        place = Place(message.partition() or 0, message.offset() or 0, message.timestamp()[1])
        made.append((place, document, value))
    return made
