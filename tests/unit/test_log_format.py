from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from soma_cli.core.record import Position
from soma_cli.core.serialization import deserialize
from soma_cli.log_format import JsonFormatter, configure

NAME = "soma.tests.log_format"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logger = logging.getLogger(NAME)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.handlers.clear()


@pytest.fixture
def logger(stream: io.StringIO) -> logging.Logger:
    configure(stream, "json", NAME)
    return logging.getLogger(NAME)


def lines(stream: io.StringIO) -> list[Any]:
    """Each line as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def line(stream: io.StringIO) -> Any:
    (only,) = lines(stream)
    return only


def test_a_line_tells_when_how_bad_who_and_what(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.warning("%d events are behind", 3)
    found = line(stream)
    assert list(found) == ["ts", "level", "logger", "message"]
    assert (found["level"], found["logger"], found["message"]) == ("warning", NAME, "3 events are behind")


def test_the_time_is_that_of_the_record_in_utc_to_the_microsecond() -> None:
    record = logging.makeLogRecord({"msg": "x", "created": 1_700_000_000.123456})
    assert json.loads(JsonFormatter().format(record))["ts"] == "2023-11-14T22:13:20.123456Z"
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{6}Z", json.loads(JsonFormatter().format(record))["ts"])


def test_fields_follow(logger: logging.Logger, stream: io.StringIO) -> None:
    position = Position("memory.events", 3, 1042)
    fields = {"worker": "kv", "event_id": UUID(int=7), "position": position, "attempts": 2, "seconds": 0.5}
    logger.info("rejected", extra={"soma": fields})
    assert line(stream) | {"ts": ""} == {
        "ts": "",
        "level": "info",
        "logger": NAME,
        "message": "rejected",
        "worker": "kv",
        "event_id": "00000000-0000-0000-0000-000000000007",
        "position": "memory.events/3@1042",
        "attempts": 2,
        "seconds": 0.5,
    }


def test_a_field_does_not_take_the_place_of_a_fixed_one(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.info("the message", extra={"soma": {"message": "another", "level": 9}})
    found = line(stream)
    assert (found["message"], found["message_"]) == ("the message", "another")
    assert (found["level"], found["level_"]) == ("info", 9)


def test_an_exception_is_in_the_line(logger: logging.Logger, stream: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("failed")
    found = line(stream)
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["exception"].endswith("ValueError: first\nsecond")


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Word(StrEnum):
    ONE = "one"


class Number(IntEnum):
    ONE = 1


ROUND: list[Any] = []
ROUND.append(ROUND)

ODD = {
    "nan": (float("nan"), "nan"),
    "infinity": (float("-inf"), "-inf"),
    "bytes": (b"a\xff", "a\\xff"),
    "surrogate": ("\udcff", "\\udcff"),
    "newline": ("a\nb\r\u2028", "a\nb\r\u2028"),
    "null": ("\0", "\0"),
    "large": (10**400, 10**400),
    "none": (None, None),
    "bool": (True, True),
    "set": ({1}, [1]),
    "tuple": ((1, "a"), [1, "a"]),
    "keys": ({1: 2, None: 3, ("a",): 4}, {"1": 2, "None": 3, "('a',)": 4}),
    "path": (Path("/a"), "/a"),
    "time": (datetime(2026, 1, 1), "2026-01-01 00:00:00"),
    "enum": (Word.ONE, "one"),
    "number": (Number.ONE, "1"),
    "object": (Unspeakable(), "<Unspeakable>"),
    "error": (ValueError("x"), "x"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_written_somehow(logger: logging.Logger, stream: io.StringIO, name: str) -> None:
    value, written = ODD[name]
    logger.info("x", extra={"soma": {"value": value}})
    assert line(stream)["value"] == written
    assert len(stream.getvalue().splitlines()) == 1


def test_a_value_that_holds_itself_ends_somewhere(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.info("x", extra={"soma": {"value": ROUND}})
    assert "[[" in stream.getvalue()
    assert line(stream)


@pytest.mark.parametrize("fields", [[1], "a", 7, {}], ids=str)
def test_fields_that_are_no_mapping(logger: logging.Logger, stream: io.StringIO, fields: Any) -> None:
    logger.info("x", extra={"soma": fields})
    assert line(stream).get("soma", {}) == fields


@pytest.mark.parametrize(
    ("message", "arguments", "written"),
    [
        ("%d", ("x",), "%d ('x',)"),
        ("%s %s", (1,), "%s %s (1,)"),
        ("%s", (Unspeakable(),), "%s <tuple>"),
        (Unspeakable(), (), "<Unspeakable> ()"),
        ("100 %", (), "100 %"),
        ("\udcff\n", (), "\\udcff\n"),
    ],
    ids=["type", "number", "object", "message", "percent", "surrogate"],
)
def test_a_message_that_cannot_be_made_is_written_somehow(
    message: Any, arguments: tuple[object, ...], written: str
) -> None:
    record = logging.LogRecord(NAME, logging.INFO, "file.py", 1, message, arguments, None)
    assert json.loads(JsonFormatter().format(record))["message"] == written


def test_an_exception_that_cannot_be_shown(logger: logging.Logger, stream: io.StringIO) -> None:
    try:
        raise UnspeakableError
    except UnspeakableError:
        logger.exception("failed")
    assert "UnspeakableError" in line(stream)["exception"]
    logger.error("no exception", exc_info=True)


def test_lines_are_strict_json_and_ascii() -> None:
    record = logging.makeLogRecord({"msg": "Grüße 世界 \U0001f600 \udcff", "soma": {"é": float("inf")}})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert deserialize(line)["message"] == "Grüße 世界 \U0001f600 \\udcff"


def test_text_is_for_people(stream: io.StringIO) -> None:
    configure(stream, "text", NAME)
    logging.getLogger(NAME).warning("slow: %s", "kv", extra={"soma": {"worker": "kv"}})
    assert stream.getvalue() == "soma: slow: kv\n"


def test_a_second_call_replaces_the_first_and_leaves_others_alone(stream: io.StringIO) -> None:
    logger = logging.getLogger(NAME)
    others = io.StringIO()
    logger.addHandler(logging.StreamHandler(others))
    configure(stream, "text", NAME)
    configure(stream, "json", NAME)
    logger.warning("once")
    assert line(stream)["message"] == "once"
    assert others.getvalue() == "once\n"
