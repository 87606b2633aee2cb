"""Building valid events from what callers give, and appending them.

Producers are stricter than workers: their rules may need a clock or configuration (size, a timestamp in the future,
importance above zero), which a worker must not use to judge a record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import EventRejected, InputRejected, UsageError
from soma_cli.core.event import (
    CREATED,
    DELETED,
    MemoryEvent,
    event_id_for,
    event_of,
    is_canonical_uuid,
    memory_id_for,
    new_id,
    validate_event,
)
from soma_cli.core.instants import MICROSECONDS, epoch_us, format_instant, now_us, parse_instant
from soma_cli.core.ports import Appended, EventLog
from soma_cli.core.record import EVENTS_TOPIC, Headers, NewRecord
from soma_cli.core.serialization import serialize
from soma_cli.core.settings import LimitSettings

_OPTIONAL = ("importance", "embedding", "model_revision", "if_version", "reason", "actor")


@dataclass(slots=True)
class Draft:
    """What a caller says of an event; what is None is filled in. `extra` fields are kept as they are.

    `timestamp` is RFC 3339, a date, an epoch in seconds or milliseconds, or a duration before now.
    `key` is an idempotency key: it settles `event_id`, and `id` where that is None.
    """

    payload: object
    type: str = CREATED
    id: str | None = None
    namespace: str = "default"
    importance: float | None = None
    embedding: list[float] | None = None
    model_revision: str | None = None
    timestamp: str | float | None = None
    event_id: str | None = None
    if_version: int | None = None
    reason: dict[str, Any] | None = None
    actor: str | None = None
    key: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def build_event(draft: Draft, limits: LimitSettings) -> MemoryEvent:
    """A valid event, its JSON included. Raises InputRejected with a pointer to the value, or UsageError for the id."""
    event_id, id = _ids(draft)
    document: dict[str, Any] = {
        "event_id": event_id,
        "id": id,
        "namespace": draft.namespace,
        "type": draft.type,
        "timestamp": _timestamp(draft.timestamp, limits),
        "payload": draft.payload,
    }
    for name in _OPTIONAL:
        if (value := getattr(draft, name)) is not None:
            document[name] = value
    document.update((name, value) for name, value in draft.extra.items() if name not in document)
    return check_event(document, limits)


def check_event(document: dict[str, Any], limits: LimitSettings) -> MemoryEvent:
    """The event of a whole document, after every rule that binds producers but one: a timestamp that lies ahead is
    refused where it is given (`build_event`). What another log has acknowledged is kept as it is."""
    if not isinstance(document.get("payload"), dict):
        raise EventRejected(
            f"the payload is {_kind(document.get('payload'))}, not a JSON object",
            pointer="/payload",
            hint='give an object, for example {"text": "..."}',
            code="payload_not_object",
        )
    value = serialize(document)
    validate_event(document)
    if len(value) > limits.event_bytes:
        raise EventRejected(
            f"the event has {len(value):,} bytes; the limit is {limits.event_bytes:,}",
            hint="store large content elsewhere and a reference to it here, or raise limits.event_bytes",
            code="too_large",
        )
    event = event_of(document, value)
    _check_producer_rules(event)
    return event


def _check_producer_rules(event: MemoryEvent) -> None:
    if event.type == DELETED and event.payload:
        raise EventRejected("a deleted event carries no payload", pointer="/payload", code="schema")
    if not event.importance > 0:
        raise EventRejected(
            f"importance {event.importance:g} is not above zero", pointer="/importance", code="importance"
        )
    if event.embedding is not None:
        check_embedding(event.embedding)


def _ids(draft: Draft) -> tuple[str, str]:
    id = draft.id
    if id is not None and not (isinstance(id, str) and is_canonical_uuid(id)):
        shown = repr(id)[:80]
        raise UsageError(f"{shown} is not a memory's id", hint="give a lower-case UUID, or leave it out")
    if draft.key is not None:
        if not draft.key:
            raise UsageError("the idempotency key is empty", hint="give one that names the call, or leave it out")
        event_id = draft.event_id or event_id_for(draft.namespace, draft.key)
        return event_id, id or memory_id_for(draft.namespace, draft.key)
    return draft.event_id or new_id(), id or new_id()


def _timestamp(given: str | float | None, limits: LimitSettings) -> str:
    now = now_us()
    if given is None:
        return format_instant(now)
    try:
        instant = parse_instant(given, now=now) if isinstance(given, str) else epoch_us(_number(given))
    except UsageError as error:
        raise EventRejected(error.message, pointer="/timestamp", hint=error.hint, code="timestamp") from error
    if instant > now + limits.future_s * MICROSECONDS:
        raise EventRejected(
            f"timestamp {format_instant(instant)} lies more than {limits.future_s:g} s ahead",
            pointer="/timestamp",
            hint="check the clock, or leave the timestamp out",
            code="timestamp",
        )
    return format_instant(instant)


def _number(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise UsageError(f"{given!r} is not a time", hint="write RFC 3339 or an epoch in seconds or milliseconds")
    return given


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def record_of(event: MemoryEvent, headers: Headers = ()) -> NewRecord:
    return NewRecord(EVENTS_TOPIC, event.id.encode(), event.value, headers)


def append_events(
    log: EventLog, events: Sequence[MemoryEvent], headers: Sequence[Headers] | None = None
) -> list[Appended]:
    """Append valid events, in order; `headers` are those of each. A failure of the log carries the ids, so that the
    call can be settled later."""
    try:
        if headers is None:
            return log.append([record_of(event) for event in events])
        return log.append([record_of(event, its) for event, its in zip(events, headers, strict=True)])
    except InputRejected:
        raise
    except Exception as error:
        if len(events) == 1 and hasattr(error, "details"):
            error.details.update({"id": events[0].id, "event_id": events[0].event_id})
        raise
