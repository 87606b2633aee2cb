"""Instants: integers of microseconds since the epoch inside soma, RFC 3339 in UTC outside.

One unit everywhere keeps comparison exact; conversion happens only at the edges.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from soma_cli.core.errors import UsageError

MICROSECONDS = 1_000_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}$")
_ZONELESS = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$")
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$")
_SHORT_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d+)?[smhdw])+)$")
_ISO_DURATION = re.compile(r"([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    """Seconds of `90s`, `5m`, `24h`, `7d`, `1h30m`, `PT24H`, or a bare number of seconds; a sign is kept."""
    if short := _SHORT_DURATION.match(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", short[2])
        return _signed(short[1], sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))
    if (iso := _ISO_DURATION.match(text)) and any(iso.groups()[1:]):
        weeks, days, hours, minutes = (int(group or 0) for group in iso.groups()[1:5])
        return _signed(iso[1], ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + float(iso[6] or 0))
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < 1e12:
        raise UsageError(f"{text!r} is not a duration", hint="write for example 90s, 5m, 24h, 7d or PT24H")
    return seconds


def _signed(sign: str, seconds: float) -> float:
    return -seconds if sign == "-" else seconds


def parse_instant(text: str, *, now: int | None = None) -> int:
    """Microseconds of an RFC 3339 time, a date, an epoch (s or ms), `now`, or a duration before or after now (`-24h`).

    No zone means UTC. A duration without a sign (`PT24H`, `24h`) lies in the past. Raises UsageError.
    """
    text = text.strip()
    if text == "now":
        return now_us() if now is None else now
    if _RFC3339.match(text) or _ZONELESS.match(text) or _DATE.match(text):
        return _calendar(text)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return epoch_us(float(text) if "." in text else int(text))
    if _SHORT_DURATION.match(text) or _ISO_DURATION.match(text):
        seconds = parse_duration_s(text)
        offset = seconds if text[0] in "+-" else -seconds
        return (now_us() if now is None else now) + round(offset * MICROSECONDS)
    raise UsageError(
        f"{text!r} is not a time",
        hint="write RFC 3339 (2026-01-31T12:00:00Z), a date, epoch seconds or milliseconds, or a duration (-24h)",
    )


def epoch_us(number: float) -> int:
    """Microseconds of an epoch in seconds or, from 1e11 on, milliseconds. Raises UsageError beyond the year 9999."""
    scale = 1000 if number >= _FIRST_MILLISECONDS else MICROSECONDS
    instant = number * scale if isinstance(number, int) else round(number * scale)
    if not 0 <= instant < 253_402_300_800 * MICROSECONDS:
        raise UsageError(f"epoch {number} is outside the years 1970 to 9999", hint="write seconds or milliseconds")
    return instant


def _calendar(text: str) -> int:
    try:
        moment = datetime.fromisoformat(_python_fraction(text.upper().replace(" ", "T")))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time: {error}", hint="write RFC 3339, for example 2026-01-31T12:00:00Z") from error


def _python_fraction(text: str) -> str:
    """Cut a fraction to six digits: `fromisoformat` refuses more than that only in some versions."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)
