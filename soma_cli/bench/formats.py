"""Validation and JSON, one event at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from soma_cli.bench.comparison import Comparison, Target, Workload, microseconds_each
from soma_cli.bench.workload import events
from soma_cli.core.event import validate_event
from soma_cli.core.schemas import EVENT_SCHEMA, schema_text
from soma_cli.core.serialization import deserialize, serialize


def _each(function: Callable[[Any], object], values: Sequence[object]) -> Callable[[], float]:
    """A round of one call a value, in microseconds a call."""

    def calls() -> None:
        for value in values:
            function(value)

    return lambda: microseconds_each(len(values), calls)


def bare_validator() -> Callable[[object], bool]:
    """jsonschema-rs on the shipped schema, formats checked as far as it knows them (`uuid` it does not)."""
    import jsonschema_rs

    return jsonschema_rs.Draft7Validator(schema_text(EVENT_SCHEMA), validate_formats=True).is_valid


@contextmanager
def validate(workload: Workload) -> Iterator[Comparison]:
    documents = [orjson.loads(event.value) for event in events(workload.events)]
    yield Comparison(
        "validate one event",
        "us",
        Target(2.0),
        _each(validate_event, documents),
        _each(bare_validator(), documents),
        "jsonschema-rs with formats, without UUIDs and soma's own fields",
        rounds=3,
    )


@contextmanager
def encode(workload: Workload) -> Iterator[Comparison]:
    documents = [orjson.loads(event.value) for event in events(workload.events)]
    baseline = "orjson.dumps, which writes NaN as null"
    yield Comparison(
        "JSON encode, strict", "us", Target(2.0), _each(serialize, documents), _each(orjson.dumps, documents), baseline,
        rounds=3,
    )  # fmt: skip


@contextmanager
def decode(workload: Workload) -> Iterator[Comparison]:
    values = [event.value for event in events(workload.events)]
    baseline = "orjson.loads, which keeps the last of duplicate keys and rounds 2**64"
    yield Comparison(
        "JSON decode, strict", "us", Target(2.0), _each(deserialize, values), _each(orjson.loads, values), baseline,
        rounds=3,
    )  # fmt: skip
