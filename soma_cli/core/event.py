"""The memory event: one validated JSON object that carries a memory's whole state.

The schema is `schemas/memory.event.json`; it is open, and unknown fields are kept. soma adds three optional fields:
`if_version` (an integer: the event counts only if the state has exactly that version; `NO_STATE` = only if the memory
has never had one), `reason` (an object: why it was forgotten) and `actor` (a string: by whom).

`decode_event` judges a record by the record alone, so that every rebuild judges it the same.
"""

from __future__ import annotations

import functools
import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from soma_cli.core.compatibility.validation import UUID, validator
from soma_cli.core.errors import EventRejected
from soma_cli.core.record import Record
from soma_cli.core.schemas import EVENT_SCHEMA, schema_text
from soma_cli.core.serialization import deserialize, json_pointer, serialize

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

CREATED, UPDATED, DELETED = "created", "updated", "deleted"
DEFAULT_IMPORTANCE = 1.0
NO_STATE = -1
"""`if_version` of an event that counts only if the memory has never had a state."""

_EPOCH_SHIFT = 40
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EVENT_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:soma:event")
_MEMORY_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:soma:memory")


@dataclass(slots=True)
class MemoryEvent:
    """A decoded event. `value` is its JSON exactly as it lies in the log, unknown fields included."""

    event_id: str
    id: str
    namespace: str
    type: str
    timestamp: str
    payload: dict[str, Any]
    importance: float
    embedding: list[float] | None
    model_revision: str | None
    if_version: int | None
    reason: dict[str, Any] | None
    actor: str | None
    value: bytes


def version_of(epoch: int, offset: int) -> int:
    """The version that the event at this offset makes: epoch * 2^40 + offset, below 2^53 for 8192 epochs."""
    return (epoch << _EPOCH_SHIFT) + offset


def offset_of(version: int) -> int:
    """The offset of the event that made this version."""
    return version & ((1 << _EPOCH_SHIFT) - 1)


def epoch_of(version: int) -> int:
    """The topic's incarnation in which this version was made."""
    return version >> _EPOCH_SHIFT


def new_id() -> str:
    """A UUIDv7 (RFC 9562, method 3: milliseconds, then 12 bits of the fraction, then random bits)."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random_bits = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    text = f"{milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random_bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def event_id_for(namespace: str, key: str) -> str:
    """The event id of an idempotency key: the same call is the same event."""
    return str(uuid.uuid5(_EVENT_IDS, _name_of(namespace, key)))


def memory_id_for(namespace: str, key: str) -> str:
    """The id of the memory that an idempotency key creates."""
    return str(uuid.uuid5(_MEMORY_IDS, _name_of(namespace, key)))


def _name_of(namespace: str, key: str) -> str:
    """As JSON, so that no two pairs share a name. Raises NotJson for what is no Unicode text."""
    return serialize({"namespace": namespace, "key": key}).decode()


def is_canonical_uuid(text: str) -> bool:
    return _CANONICAL_UUID.fullmatch(text) is not None


@functools.cache
def _validator() -> Draft7Validator:
    return validator(json.loads(schema_text(EVENT_SCHEMA)))


@functools.cache
def _surely_valid() -> Callable[[object], bool]:
    """A check that asks Python for nothing, five times as fast as `_check`. What it refuses may be valid all the same.

    It is the schema, with patterns for UUIDs, a canonical `id`, and the three fields of soma's own, `if_version` left
    out: to the validator 1.0 is an integer.
    """
    import jsonschema_rs

    schema = json.loads(schema_text(EVENT_SCHEMA))
    fields = schema["properties"]
    for field in fields.values():
        if field.get("format") == "uuid":
            field["pattern"] = UUID
    fields["id"]["pattern"] = f"^{_CANONICAL_UUID.pattern}$"
    fields |= {"if_version": {"type": "null"}, "reason": {"type": "object"}, "actor": {"type": "string"}}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True, offline=True).is_valid


def validate_event(document: object) -> None:
    """Raise EventRejected, with a pointer to the value, unless the document is a valid memory event."""
    if not _surely_valid()(document):
        _check(document)


def _check(document: object) -> None:
    """The schema as it was shipped, then what it does not say."""
    if not _validator().is_valid(document):
        from jsonschema_rs import ValidationError

        try:
            _validator().validate(document)
        except ValidationError as error:
            where = json_pointer(error.instance_path)
            raise EventRejected(
                f"the event does not match the schema {EVENT_SCHEMA}: {_shortened(error.message)}"
                + (f" (at {where})" if where else ""),
                pointer=where,
                code="schema",
            ) from None
    assert isinstance(document, dict)
    if not is_canonical_uuid(document["id"]):
        raise EventRejected(
            f"id {document['id']!r} is not a canonical lower-case UUID", pointer="/id", code="id_not_canonical"
        )
    _check_extensions(document)


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[:limit]}..."


def _check_extensions(document: dict[str, Any]) -> None:
    if (version := document.get("if_version")) is not None and (type(version) is not int or version < NO_STATE):
        raise EventRejected(f"if_version {version!r} is not a version", pointer="/if_version", code="schema")
    if not isinstance(document.get("reason"), dict | None):
        raise EventRejected("reason is not a JSON object", pointer="/reason", code="schema")
    if not isinstance(document.get("actor"), str | None):
        raise EventRejected("actor is not a string", pointer="/actor", code="schema")


def decode_event(record: Record) -> MemoryEvent:
    """The event of a record, or NotJson or EventRejected: what no retry will change."""
    if record.value is None:
        raise EventRejected("the record has no value", code="null_value")
    document = deserialize(record.value)
    validate_event(document)
    event = event_of(document, record.value)
    if record.key != event.id.encode():
        shown = "null" if record.key is None else repr(record.key[:80].decode(errors="replace"))
        raise EventRejected(
            f"the record's key {shown} is not the event's id {event.id}", pointer="/id", code="key_mismatch"
        )
    return event


def event_of(document: dict[str, Any], value: bytes) -> MemoryEvent:
    """The event of a document that `validate_event` accepted."""
    get = document.get
    importance = get("importance")
    # By position: naming thirteen fields takes as long as parsing the document.
    return MemoryEvent(
        document["event_id"].lower(),
        document["id"],
        document["namespace"],
        document["type"],
        document["timestamp"],
        document["payload"],
        DEFAULT_IMPORTANCE if importance is None else float(importance),
        get("embedding"),
        get("model_revision"),
        get("if_version"),
        get("reason"),
        get("actor"),
        value,
    )
