"""Positions as people write them, and records."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soma_cli.core.errors import UsageError
from soma_cli.core.record import Position, Record


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.integers(0, 2**31 - 1), st.integers(0, 2**40))
def test_a_position_is_read_as_it_is_written(topic: str, partition: int, offset: int) -> None:
    position = Position(topic, partition, offset)
    assert str(position) == f"{topic}/{partition}@{offset}"
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        *("", "memory.events", "memory.events/0", "memory.events@1", "/0@1", "memory.events/@1", "memory.events/0@"),
        *(
            "memory.events/-1@1",
            "memory.events/0@-1",
            "memory.events/0@1.5",
            "memory.events/0@1 ",
            " memory.events/0@1",
        ),
        *("memory.events/0@1\n", "memory.events/0@1x", "memory/events/0@1", "memory.events/\u0663@1", "m/0@\uff11"),
        *("memory.events/0@" + "9" * 5000, "m" * 300 + "/" + "1" * 30 + "@1", "0", "memory.events/0x1@1"),
    ],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a position") as error:
        Position.parse(text)
    assert "topic/partition@offset" in error.value.hint
    assert len(error.value.message) < 200


def test_positions_are_in_log_order_within_a_partition() -> None:
    assert sorted([Position("t", 1, 2), Position("t", 0, 10), Position("t", 0, 9)]) == [
        *(Position("t", 0, 9), Position("t", 0, 10), Position("t", 1, 2))
    ]


def test_a_record_knows_its_position_and_the_last_header_of_a_name() -> None:
    record = Record("t", 1, 2, 0, None, None, (("a", b"1"), ("b", b"2"), ("a", b"3")))
    assert record.position == Position("t", 1, 2)
    assert (record.header("a"), record.header("b"), record.header("c")) == (b"3", b"2", None)
