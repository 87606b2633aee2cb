"""Log lines as text for people, or as one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Mapping, Set
from typing import Any, Literal, TextIO

from soma_cli.core.instants import format_instant

LogFormat = Literal["text", "json"]

TEXT = "soma: %(message)s"
_DEEPEST = 8


class JsonFormatter(logging.Formatter):
    """`{"ts", "level", "logger", "message", ...}`: what is given as `extra={"soma": {"worker": ..., "event_id": ...,
    "position": ...}}` follows as fields of its own, then `exception` where there is one.

    `ts` is RFC 3339 in UTC with microseconds. Never raises: what JSON cannot hold is written as text. A field that has
    the name of a fixed one gets an underscore behind it.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": format_instant(round(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(_message(record)),
        }
        for name, value in _fields(record).items():
            line[f"{name}_" if name in line else name] = value
        if exception := _exception(record):
            line["exception_" if "exception" in line else "exception"] = _text(exception)
        # Escaped to ASCII, so that no stream's encoding can refuse it.
        return json.dumps(line, separators=(",", ":"))


class _Handler(logging.StreamHandler[TextIO]):
    """The one that `configure` made; a second call replaces it."""


def configure(stream: TextIO, format: LogFormat, logger: str = "soma") -> logging.Handler:
    """Write what the logger is told to the stream, in this format and no other. Returns the handler."""
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if format == "json" else logging.Formatter(TEXT))
    target = logging.getLogger(logger)
    for earlier in [one for one in target.handlers if isinstance(one, _Handler)]:
        target.removeHandler(earlier)
    target.addHandler(handler)
    return handler


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or whose __str__ fails: the line matters more
        return f"{_shown(record.msg)} {_shown(record.args)}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = getattr(record, "soma", None)
    if given is None:
        return {}
    plain = _plain(given, 0)
    return plain if isinstance(plain, dict) else {"soma": plain}


def _exception(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    try:
        return "".join(traceback.format_exception(*record.exc_info)).rstrip()
    except Exception:  # noqa: BLE001 - an exception whose __str__ fails
        return record.exc_info[0].__name__


def _plain(value: object, depth: int) -> Any:
    """The value as JSON can hold it."""
    if value is None or value is True or value is False:
        return value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {_text(_shown(key)): _plain(item, depth + 1) for key, item in list(value.items())}
    if depth < _DEEPEST and isinstance(value, list | tuple | Set):
        return [_plain(item, depth + 1) for item in list(value)]
    return _text(_shown(value))


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - any object may be logged
        return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    """Without lone surrogates, which strict readers of JSON refuse even escaped."""
    return text.encode(errors="backslashreplace").decode()
