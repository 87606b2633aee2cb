"""Dead letters: looking at them, sending them again, settling them.

A retry appends the event anew, under an event_id that its source position settles and with `if_version`, so that it
counts once and never overtakes what happened since. The letter is settled only after that: where a crash comes in
between, the next retry finds the event applied. What still is no valid event returns with its attempt count.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any

from soma_cli.core.errors import CheckFailed, InputRejected, NotFound, UsageError
from soma_cli.core.event import NO_STATE, MemoryEvent, decode_event, event_of, version_of
from soma_cli.core.eventing.dead_letters import ATTEMPTS_HEADER, DeadLetter, letter, read_letters, tombstone
from soma_cli.core.eventing.producer import record_of
from soma_cli.core.memory import Outcome
from soma_cli.core.ports import EventLog, JournalEntry, MemoryStore
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, Position
from soma_cli.core.results import Letter, LetterResult
from soma_cli.core.serialization import deserialize, serialize
from soma_cli.core.workers.names import VECTOR

_RETRY_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:soma:retry")


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
        key=_shown_text(key),
        headers=[{"key": name, "value": _shown_text(raw)} for name, raw in found.source.headers],
    )


def _shown_text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")


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


def retry(
    log: EventLog,
    store: MemoryStore,
    epoch: int,
    found: DeadLetter,
    *,
    force: bool,
    apply_kv: Callable[[], None],
) -> LetterResult:
    """Send a letter's event again. `apply_kv` brings kv up to date, or raises.

    `retried`: applied, at `position`, and the letter is settled. `rejected`: still no valid event; the letter stays,
    its attempts counted. Raises CheckFailed, and leaves the letter, where the memory has moved on since and `force` is
    not set, or where the event was ignored.
    """
    try:
        event = decode_event(found.source)
    except InputRejected as error:
        return _rejected_again(log, found, error)
    apply_kv()
    event_id, done = _retry_id(store, event, found)
    if done is None:
        again = _again(event, event_id, _expected_version(store, epoch, event, found, force=force))
        position = _append(log, again, found)
        apply_kv()
        done = _applied(log, store, again, position, found)
    log.append([tombstone(found.key)])
    return LetterResult(str(found.source.position), "retried", str(done.position), found.attempts, "")


def _rejected_again(log: EventLog, found: DeadLetter, error: InputRejected) -> LetterResult:
    """Write the letter anew, with one attempt more, in the place of this one."""
    attempts = found.attempts + 1
    anew = letter(found.worker, found.source, error, attempts)
    written = log.append([anew] if anew.key == found.key else [anew, tombstone(found.key)])
    return LetterResult(str(found.source.position), "rejected", str(written[0].position), attempts, error.message)


def _retry_id(store: MemoryStore, event: MemoryEvent, found: DeadLetter) -> tuple[str, JournalEntry | None]:
    """The event id to send it under; and where an earlier retry was applied already, its journal row.

    An id under which the event was ignored is used up: sent under it again, the event would count as a duplicate.
    """
    for number in count():
        name = f"{found.worker}:{found.source.position}" + (f"#{number}" if number else "")
        event_id = str(uuid.uuid5(_RETRY_IDS, name))
        earlier = store.first_positions([(event.id, event_id)]).get((event.id, event_id))
        if earlier is None or earlier.outcome is Outcome.APPLIED:
            return event_id, earlier
    raise AssertionError("unreachable")


def _append(log: EventLog, event: MemoryEvent, found: DeadLetter) -> Position:
    attempts = (ATTEMPTS_HEADER, str(found.attempts).encode())
    headers = (*(item for item in found.source.headers if item[0] != ATTEMPTS_HEADER), attempts)
    return log.append([record_of(event, headers)])[0].position


def _applied(
    log: EventLog, store: MemoryStore, event: MemoryEvent, position: Position, found: DeadLetter
) -> JournalEntry:
    """The journal row of the event sent. Raises CheckFailed where kv ignored it."""
    entry = store.first_positions([(event.id, event.event_id)]).get((event.id, event.event_id))
    if entry is not None and entry.outcome is Outcome.APPLIED:
        return entry
    why = f"was ignored: {entry.note}" if entry is not None else "was not applied: see `soma dlq list`"
    raise CheckFailed(
        f"the event of {found.source.position}, sent again as {position}, {why}; its letter stays",
        hint=f"look at its memory with `soma history {event.id}`, then retry or discard the letter",
        code="newer_state",
        details={"id": event.id, "source": str(found.source.position), "position": str(position)},
    )


def _expected_version(store: MemoryStore, epoch: int, event: MemoryEvent, found: DeadLetter, *, force: bool) -> int:
    """The version that the retry must find. A newer state than the failed event's own is not to be overtaken."""
    state = store.states([event.id]).get(event.id)
    held = NO_STATE if state is None else state.version
    if held > _newest_allowed(epoch, found) and not force:
        raise CheckFailed(
            f"memory {event.id} has changed since {found.source.position} failed: it is at version {held}",
            hint="discard the letter, or send it all the same with --force",
            code="newer_state",
            details={"id": event.id, "version": held, "source": str(found.source.position)},
        )
    return held


def _newest_allowed(epoch: int, found: DeadLetter) -> int:
    """kv applied what vector failed on: there the state must still be the event's own."""
    if found.source.topic != EVENTS_TOPIC:  # nobody knows when it failed, so any state may be newer
        return NO_STATE
    failed = version_of(epoch, found.source.offset)
    return failed if found.worker == VECTOR else failed - 1


def _again(event: MemoryEvent, event_id: str, if_version: int) -> MemoryEvent:
    document = deserialize(event.value)
    document["event_id"] = event_id
    document["if_version"] = if_version
    return event_of(document, serialize(document))
