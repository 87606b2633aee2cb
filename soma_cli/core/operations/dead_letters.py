"""Dead letters: looking at them, sending them again, settling them.

A retry appends the event anew, under an event_id that its source position settles and with `if_version`, so that it is
sent once and never overtakes what happened since. What still is no valid event returns with its attempt count.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any

from soma_cli.core.errors import CheckFailed, InputRejected, NotFound, UsageError
from soma_cli.core.event import NO_STATE, MemoryEvent, decode_event, event_of, version_of
from soma_cli.core.eventing.dead_letters import ATTEMPTS_HEADER, DeadLetter, letter, read_letters, tombstone
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.ports import EventLog, MemoryStore
from soma_cli.core.record import DEAD_LETTER_TOPIC, Position
from soma_cli.core.results import Letter, LetterResult
from soma_cli.core.serialization import deserialize, serialize
from soma_cli.core.workers.vector_indexer import VECTOR

_RETRY_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:soma:retry")


def letters(log: EventLog) -> list[Letter]:
    """The open letters, oldest first."""
    return [shown(found) for found in read_letters(log)]


def shown(found: DeadLetter) -> Letter:
    value = found.source.value
    key = found.source.key
    return Letter(
        position=str(found.position),
        source=str(found.source.position),
        code=found.code,
        message=found.message,
        attempts=found.attempts,
        worker=found.worker,
        failed_at=found.failed_at,
        value_base64=None if value is None else base64.b64encode(value).decode(),
        value=_json(value),
        pointer=found.pointer,
        key=None if key is None else key.decode(errors="replace"),
        headers=[{"key": name, "value": raw.decode(errors="replace")} for name, raw in found.source.headers],
    )


def _json(value: bytes | None) -> Any:
    try:
        return None if value is None else deserialize(value)
    except InputRejected:
        return None


def find_letter(log: EventLog, position: str) -> DeadLetter:
    """The open letter at its own position or of a source position. Raises NotFound, UsageError."""
    at = Position.parse(position)
    own = at.topic == DEAD_LETTER_TOPIC
    found = [item for item in read_letters(log) if (item.position if own else item.source.position) == at]
    if not found:
        raise NotFound(f"there is no open dead letter at {at}", hint="see `soma dlq list`")
    if len(found) > 1:
        raise UsageError(
            f"{at} has several dead letters", hint=f"name one of {', '.join(str(f.position) for f in found)}"
        )
    return found[0]


def discard(log: EventLog, found: DeadLetter) -> LetterResult:
    """Settle a letter without sending it again. Its bytes stay in the log."""
    log.append([tombstone(found.key)])
    return LetterResult(str(found.source.position), "discarded", None, found.attempts, "")


def retry(log: EventLog, store: MemoryStore, epoch: int, found: DeadLetter, *, force: bool) -> LetterResult:
    """Send a letter's event again. kv must be up to date.

    `retried`: appended, at `position`. `rejected`: still no valid event; the letter stays, its attempts counted.
    Raises CheckFailed where the memory has moved on since and `force` is not set.
    """
    try:
        event = decode_event(found.source)
    except InputRejected as error:
        attempts = found.attempts + 1
        log.append([letter(found.worker, found.source, error, attempts)])
        return LetterResult(str(found.source.position), "rejected", None, attempts, error.message)
    again = _again(event, found, _expected_version(store, epoch, event, found, force=force))
    attempts_header = (ATTEMPTS_HEADER, str(found.attempts).encode())
    headers = (*(item for item in found.source.headers if item[0] != ATTEMPTS_HEADER), attempts_header)
    appended = log.append([record_of(again, headers), tombstone(found.key)])
    return LetterResult(str(found.source.position), "retried", str(appended[0].position), found.attempts, "")


def _expected_version(store: MemoryStore, epoch: int, event: MemoryEvent, found: DeadLetter, *, force: bool) -> int:
    """The version that the retry must find. A newer state than the failed event's own is not to be overtaken."""
    state = store.states([event.id]).get(event.id)
    held = NO_STATE if state is None else state.version
    failed = version_of(epoch, found.source.offset)
    # kv applied what vector failed on: there the state must still be the event's own.
    newest_allowed = failed if found.worker == VECTOR else failed - 1
    if held > newest_allowed and not force:
        raise CheckFailed(
            f"memory {event.id} has changed since {found.source.position} failed: it is at version {held}",
            hint="discard the letter, or send it all the same with --force",
            code="newer_state",
            details={"id": event.id, "version": held, "source": str(found.source.position)},
        )
    return held


def _again(event: MemoryEvent, found: DeadLetter, if_version: int) -> MemoryEvent:
    document = deserialize(event.value)
    source = f"{found.worker}:{found.source.position}"
    document["event_id"] = str(uuid.uuid5(_RETRY_IDS, source))
    document["if_version"] = if_version
    return event_of(document, serialize(document))
