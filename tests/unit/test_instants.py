"""Instants: what people and programs write as a time, and the one form in which soma writes it back."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soma_cli.core.errors import UsageError
from soma_cli.core.instants import epoch_us, format_instant, now_us, parse_duration_s, parse_instant

NOON = 1_769_860_800_000_000  # 2026-01-31T12:00:00Z
HOUR = 3_600_000_000
FIRST = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
LAST = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z


@given(st.integers(FIRST, LAST))
def test_round_trip(instant: int) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == instant
    assert len(text) == len("2026-01-31T12:00:00.000000Z")


@given(st.integers(FIRST, LAST), st.integers(FIRST, LAST))
def test_text_order_is_time_order(some: int, other: int) -> None:
    assert (format_instant(some) < format_instant(other)) == (some < other)


@given(st.integers(-86_399, 86_399).filter(lambda seconds: seconds % 60 == 0), st.integers(0, 10**15))
def test_any_zone_is_the_same_instant(offset_s: int, instant: int) -> None:
    sign, minutes = "-" if offset_s < 0 else "+", abs(offset_s) // 60
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant, seconds=offset_s)).replace(tzinfo=None)
    text = f"{local.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert parse_instant(text) == instant


def test_format_is_utc_with_six_decimals() -> None:
    assert format_instant(NOON) == "2026-01-31T12:00:00.000000Z"
    assert format_instant(NOON + 1) == "2026-01-31T12:00:00.000001Z"
    assert format_instant(-1) == "1969-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31 12:00:00Z", NOON),
        ("2026-01-31T12:00:00+00:00", NOON),
        ("2026-01-31T12:00:00-00:00", NOON),
        ("2026-01-31T14:30:00+02:30", NOON),
        ("2026-01-30T22:00:00-14:00", NOON),
        ("2026-01-31T12:00:00.5Z", NOON + 500_000),
        ("2026-01-31T12:00:00.000001Z", NOON + 1),
        ("2026-01-31T12:00:00.0000019Z", NOON + 1),
        ("2026-01-31T12:00:00.123456789+00:00", NOON + 123_456),
        ("2026-01-31T12:00:00", NOON),
        ("2026-01-31 12:00", NOON),
        ("  2026-01-31T12:00:00Z\n", NOON),
        ("2026-01-31", NOON - 12 * HOUR),
        ("2024-02-29", 1_709_164_800_000_000),
        ("1969-12-31", -24 * HOUR),
        ("1769860800", NOON),
        ("1769860800.25", NOON + 250_000),
        ("1769860800000", NOON),
        ("1769860800000.5", NOON + 500),
        ("0", 0),
        ("99999999999", 99_999_999_999_000_000),
        ("100000000000", 100_000_000_000_000),
        ("253402300799999", LAST - 999),
    ],
)
def test_times_are_read(text: str, instant: int) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOON),
        ("-24h", NOON - 24 * HOUR),
        ("24h", NOON - 24 * HOUR),
        ("+24h", NOON + 24 * HOUR),
        ("PT24H", NOON - 24 * HOUR),
        ("-PT24H", NOON - 24 * HOUR),
        ("+PT24H", NOON + 24 * HOUR),
        ("P1D", NOON - 24 * HOUR),
        ("-1h30m", NOON - HOUR * 3 // 2),
        ("0.5s", NOON - 500_000),
    ],
)
def test_durations_count_from_now_and_into_the_past(text: str, instant: int) -> None:
    assert parse_instant(text, now=NOON) == instant


def test_now_is_the_clock() -> None:
    before = time.time_ns() // 1000
    assert before <= now_us() <= parse_instant("now") <= parse_instant("-0s") <= time.time_ns() // 1000
    assert before <= parse_instant("-1h") + HOUR <= time.time_ns() // 1000


@given(st.integers(0, LAST))
def test_epoch_with_decimals_keeps_microseconds_of_our_century(instant: int) -> None:
    instant = 946_684_800_000_000 + instant % (100 * 365 * 24 * HOUR)
    assert parse_instant(f"{instant // 10**6}.{instant % 10**6:06}") == instant
    assert parse_instant(f"{instant // 1000}.{instant % 1000:03}") == instant


def test_epoch_of_numbers() -> None:
    assert epoch_us(1_769_860_800) == epoch_us(1_769_860_800.0) == epoch_us(1_769_860_800_000) == NOON
    assert epoch_us(1_769_860_800.000001) == NOON + 1
    assert epoch_us(math.nextafter(253_402_300_800_000.0, 0)) <= LAST


@pytest.mark.parametrize(
    "number", [-1, -0.5, 253_402_300_800_000, 253_402_300_800_000.0, 2**64, 10**400, 1e308, float("inf"), float("nan")]
)
def test_epoch_outside_1970_to_9999_is_refused(number: float) -> None:
    with pytest.raises(UsageError, match="outside the years"):
        epoch_us(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-31T12:00:00+0200",
        "2026-02-30",
        "2025-02-29T00:00:00Z",
        "2026-13-01",
        "2026-1-1",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00 Europe/Oslo",
        "0000-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-01-31",
        "-5",
        "1e9",
        "1_769_860_800",
        "NaN",
        "P",
        "PT",
        "P1DT",
        "-",
        "5 h",
        "5y",
        "h",
        "999999999d",
        "+9000000d",
        "-800000d",
        "9" * 30,
        "9" * 400 + ".5",
        "9" * 5000,
        "9" * 400 + "s",
        "P" + "9" * 400 + "D",
        "P" + "9" * 5000 + "D",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_instant(text, now=NOON)
    assert caught.value.hint
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("-24h", -86_400),
        ("PT24H", 86_400),
        ("PT0.25S", 0.25),
        ("P1W2DT3H4M5S", 604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5),
        ("-P1D", -86_400),
        ("P0D", 0),
        ("30", 30),
        ("0.5", 0.5),
        ("-30", -30),
        (" 5m\n", 300),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5y",
        "5 5",
        "P",
        "PT",
        "P1DT",
        "1_0",
        "nan",
        "inf",
        "٣m",
        "9" * 400,
        "9" * 400 + "s",
        "1e12",
        "40000000w",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration_s(text)
    assert caught.value.hint
    assert len(caught.value.message) < 200
