"""Instants: integers of microseconds since the epoch inside soma, RFC 3339 in UTC outside.

One unit everywhere keeps comparison exact; conversion happens only at the edges.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from soma_cli.core.errors import UsageError

MICROSECONDS = 1_000_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ZONELESS = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
# At most 15 digits before the point: more is no time or duration that anyone means, and could overflow.
_NUMBER = re.compile(r"\d{1,15}(?:\.\d+)?", re.ASCII)
_SHORT_DURATION = re.compile(r"([+-]?)((?:\d{1,15}(?:\.\d+)?[smhdw])+)", re.ASCII)
_ISO_DURATION = re.compile(
    r"([+-]?)P(?=.*\d)(?:(\d{1,15})W)?(?:(\d{1,15})D)?"
    r"(?:T(?=\d)(?:(\d{1,15})H)?(?:(\d{1,15})M)?(?:(\d{1,15}(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST_DURATION_S = 1e12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_INSTANT = -62_135_596_800 * MICROSECONDS
_END_OF_TIME = 253_402_300_800 * MICROSECONDS
# From this many on, a bare number is milliseconds: as seconds it would lie beyond the year 5138.
_FIRST_MILLISECONDS = 100_000_000_000


def now_us() -> int:
    """The present, in microseconds since the epoch."""
    return time.time_ns() // 1000


def format_instant(instant_us: int) -> str:
    """RFC 3339 in UTC with exactly six decimals: fixed width, so text order is time order."""
    moment = _EPOCH + timedelta(microseconds=instant_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_duration_s(text: str) -> float:
    """Seconds of `90s`, `5m`, `24h`, `7d`, `1h30m`, `PT24H`, or a bare number of seconds; a sign is kept.

    Raises UsageError for anything else, and for more than 1e12 seconds.
    """
    seconds = _duration_s(text.strip())
    if seconds is None or not abs(seconds) < _LONGEST_DURATION_S:
        raise UsageError(f"{_short(text)} is not a duration", hint="write for example 90s, 5m, 24h, 7d or PT24H")
    return seconds


def _duration_s(text: str) -> float | None:
    if short := _SHORT_DURATION.fullmatch(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", short[2])
        return _signed(short[1], sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))
    if iso := _ISO_DURATION.fullmatch(text):
        weeks, days, hours, minutes = (int(group or 0) for group in iso.groups()[1:5])
        return _signed(iso[1], ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + float(iso[6] or 0))
    return float(text) if _NUMBER.fullmatch(text.removeprefix("-")) else None


def _signed(sign: str, seconds: float) -> float:
    return -seconds if sign == "-" else seconds


def parse_instant(text: str, *, now: int | None = None) -> int:
    """Microseconds of an RFC 3339 time, a date, an epoch (s or ms), `now`, or a duration before or after now (`-24h`).

    No zone means UTC. A duration without a sign (`PT24H`, `24h`) lies in the past. Raises UsageError for anything
    else, and for what lies outside the years 1 to 9999, which `format_instant` could not write.
    """
    text = text.strip()
    if text == "now":
        return now_us() if now is None else now
    if _RFC3339.fullmatch(text) or _ZONELESS.fullmatch(text) or _DATE.fullmatch(text):
        return _writable(_calendar(text), text)
    if _NUMBER.fullmatch(text):
        return epoch_us(float(text) if "." in text else int(text))
    if _SHORT_DURATION.fullmatch(text) or _ISO_DURATION.fullmatch(text):
        seconds = parse_duration_s(text)
        offset = seconds if text[0] in "+-" else -seconds
        return _writable((now_us() if now is None else now) + round(offset * MICROSECONDS), text)
    raise UsageError(
        f"{_short(text)} is not a time",
        hint="write RFC 3339 (2026-01-31T12:00:00Z), a date, epoch seconds or milliseconds, or a duration (-24h)",
    )


def epoch_us(number: float) -> int:
    """Microseconds of an epoch in seconds or, from 1e11 on, milliseconds. Raises UsageError beyond the year 9999."""
    scale = 1000 if number >= _FIRST_MILLISECONDS else MICROSECONDS
    if not 0 <= number < _END_OF_TIME // scale:
        raise UsageError(
            f"epoch {_short(number)} is outside the years 1970 to 9999", hint="write seconds or milliseconds"
        )
    return round(number * scale)


def _writable(instant: int, text: str) -> int:
    if not _FIRST_INSTANT <= instant < _END_OF_TIME:
        raise UsageError(f"{_short(text)} is outside the years 1 to 9999", hint="write a time nearer to today")
    return instant


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _calendar(text: str) -> int:
    try:
        moment = datetime.fromisoformat(_python_fraction(text.upper().replace(" ", "T")))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{_short(text)} is not a time: {error}", hint="write RFC 3339, for example 2026-01-31T12:00:00Z"
        ) from error


def _python_fraction(text: str) -> str:
    """Cut a fraction to six digits: `fromisoformat` refuses more than that only in some versions."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)
