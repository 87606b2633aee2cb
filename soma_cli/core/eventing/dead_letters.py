"""Dead letters: records that no retry will fix, kept with their original bytes.

A letter is a record of `memory.dlq`, keyed by worker and source position, so that writing it again after a crash
replaces it; a null value says that it was settled. What went wrong lies in its headers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from soma_cli.core.errors import InputRejected, UsageError
from soma_cli.core.instants import format_instant, now_us
from soma_cli.core.ports import EventLog
from soma_cli.core.record import DEAD_LETTER_TOPIC, NewRecord, Position, Record, header_number

logger = logging.getLogger("soma")

ATTEMPTS_HEADER = "soma-attempts"
_ORIGINAL = "original."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`source` is the record that failed, as the worker read it, `position` where the letter itself lies.

    A letter whose writer did not say where its source lies counts as its own source.
    """

    position: Position
    key: bytes
    worker: str
    source: Record
    code: str
    message: str
    pointer: str | None
    attempts: int
    failed_at: str


def letter_key(worker: str, source: Position) -> bytes:
    return f"{worker}:{source}".encode()


def attempts_of(record: Record) -> int:
    """How often this content was tried before, as a retry's header tells."""
    return _number(record.header(ATTEMPTS_HEADER), 0)


def letter(worker: str, source: Record, error: InputRejected, attempts: int) -> NewRecord:
    """The letter of a record that failed `attempts` times by now."""
    headers: list[tuple[str, bytes | None]] = [
        ("soma-worker", worker.encode()),
        ("soma-source", str(source.position).encode()),
        ("soma-appended-at", str(source.appended_at).encode()),
        ("soma-code", error.code.encode()),
        ("soma-message", error.message.encode(errors="replace")),
        (ATTEMPTS_HEADER, str(attempts).encode()),
        ("soma-failed-at", format_instant(now_us()).encode()),
    ]
    if error.pointer is not None:
        headers.append(("soma-pointer", error.pointer.encode(errors="replace")))
    if source.key is not None:
        headers.append(("soma-key", source.key))
    if source.value is None:
        headers.append(("soma-null-value", b"true"))
    headers += [(_ORIGINAL + name, value) for name, value in source.headers]
    return NewRecord(DEAD_LETTER_TOPIC, letter_key(worker, source.position), source.value or b"", tuple(headers))


def tell_rejected(worker: str, record: Record, error: InputRejected) -> None:
    """A line in a worker's log for a record that went to the dead letters."""
    fields = {"worker": worker, "position": str(record.position), "code": error.code}
    logger.info("%s rejected %s: %s", worker, record.position, error.message, extra={"soma": fields})


def tombstone(key: bytes) -> NewRecord:
    """Says that the letter of this key is settled."""
    return NewRecord(DEAD_LETTER_TOPIC, key, None)


def read_letters(log: EventLog) -> list[DeadLetter]:
    """The open letters, oldest first."""
    newest: dict[bytes, Record] = {}
    for record in _records(log):
        newest.pop(record.key or b"", None)
        if record.key is not None and record.value is not None:
            newest[record.key] = record
    return [parse_letter(record) for record in newest.values()]


def letter_of(log: EventLog, worker: str, source: Position) -> DeadLetter | None:
    """The open letter that a worker wrote of the record at a position."""
    newest: Record | None = None
    for record in _records(log, letter_key(worker, source)):
        newest = record
    return None if newest is None or newest.value is None else parse_letter(newest)


def _records(log: EventLog, key: bytes | None = None) -> Iterator[Record]:
    for partition, bounds in log.bounds(DEAD_LETTER_TOPIC).items():
        yield from log.scan(DEAD_LETTER_TOPIC, partition, bounds.beginning, bounds.end, key)


def parse_letter(record: Record) -> DeadLetter:
    """Tolerant of letters that other writers made: what a header does not tell is said to be unknown."""
    headers = {name: value for name, value in record.headers if value is not None}
    position = _position(headers.get("soma-source"), record.position)
    source = Record(
        position.topic,
        position.partition,
        position.offset,
        _number(headers.get("soma-appended-at"), record.appended_at),
        headers.get("soma-key"),
        None if "soma-null-value" in headers else record.value,
        tuple((name.removeprefix(_ORIGINAL), value) for name, value in record.headers if name.startswith(_ORIGINAL)),
    )
    return DeadLetter(
        record.position,
        record.key or b"",
        _text(headers, "soma-worker", "unknown"),
        source,
        _text(headers, "soma-code", "unknown"),
        _text(headers, "soma-message", ""),
        _text(headers, "soma-pointer", "") if "soma-pointer" in headers else None,
        _number(headers.get(ATTEMPTS_HEADER), 1),
        _text(headers, "soma-failed-at", ""),
    )


def _text(headers: dict[str, bytes], name: str, default: str) -> str:
    return headers[name].decode(errors="replace") if name in headers else default


def _number(header: bytes | None, default: int) -> int:
    found = header_number(header)
    return default if found is None else found


def _position(header: bytes | None, default: Position) -> Position:
    try:
        return default if header is None else Position.parse(header.decode(errors="replace"))
    except UsageError:
        return default
