"""Events: versions, ids, and what a record says by itself. The schema's two checks are in test_event_validation.py."""

from __future__ import annotations

import time
import uuid
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soma_cli.core.errors import EventRejected, InputRejected, NotJson
from soma_cli.core.event import (
    decode_event,
    event_id_for,
    is_canonical_uuid,
    memory_id_for,
    new_id,
    version_of,
)
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.serialization import serialize

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
EVENT: dict[str, Any] = {
    "event_id": ID,
    "id": ID,
    "namespace": "default",
    "type": "created",
    "timestamp": "2026-01-01T00:00:00Z",
    "payload": {"text": "hi"},
}


def record(value: bytes | None, key: bytes | None = ID.encode()) -> Record:
    return Record(EVENTS_TOPIC, 0, 7, 1000, key, value)


def refused(value: bytes | None, key: bytes | None = ID.encode()) -> InputRejected:
    with pytest.raises(InputRejected) as error:
        decode_event(record(value, key))
    assert error.value.message
    return error.value


# --- ids ---------------------------------------------------------------------------------------------------------


def test_a_new_id_is_a_canonical_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    id = new_id()
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(id)
    assert (str(parsed), parsed.version, parsed.variant) == (id, 7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= after
    assert is_canonical_uuid(id)


def test_new_ids_follow_time_and_never_meet() -> None:
    ids = []
    for _ in range(300):
        ids.append(new_id())
        until = time.time_ns() + 2_000  # the clock of an id ticks four times in a microsecond
        while time.time_ns() < until:
            pass
    assert all(one < two for one, two in pairwise(ids))
    assert len({new_id() for _ in range(20_000)}) == 20_000


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["", "a", "a\x1fb", "b", "1:", "\x1f"]
)


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_ids_of_a_key_differ_unless_namespace_and_key_are_the_same(n1: str, k1: str, n2: str, k2: str) -> None:
    for id_for in (event_id_for, memory_id_for):
        assert (id_for(n1, k1) == id_for(n2, k2)) == ((n1, k1) == (n2, k2))
    assert event_id_for(n1, k1) != memory_id_for(n1, k1)


def test_ids_of_a_namespace_and_key_that_join_to_the_same_text_differ() -> None:
    assert event_id_for("a\x1fb", "c") != event_id_for("a", "b\x1fc")
    assert memory_id_for("ab", "c") != memory_id_for("a", "bc")


def test_ids_of_a_key_are_canonical_uuids_of_version_5() -> None:
    for id in (event_id_for("n", "k"), memory_id_for("n", "k")):
        assert is_canonical_uuid(id)
        assert uuid.UUID(id).version == 5


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (ID, True),
        (ID.upper(), False),
        (f"{ID}\n", False),
        (f"{{{ID}}}", False),
        (ID.replace("-", ""), False),
        ("", False),
    ],
)
def test_is_canonical_uuid(text: str, canonical: bool) -> None:
    assert is_canonical_uuid(text) is canonical


def test_versions_stay_exact_in_double_precision() -> None:
    newest = version_of(8191, 2**40 - 1)
    assert newest == 2**53 - 1
    assert int(float(newest)) == newest


# --- decoding ----------------------------------------------------------------------------------------------------


def test_decode_gives_every_field_and_the_value_as_it_was() -> None:
    more = {
        "importance": 2,
        "embedding": [1, 0.5],
        "model_revision": "m",
        "if_version": 4,
        "reason": {"kind": "prune"},
        "actor": "me",
        "unknown": {"kept": True},
    }
    value = b"  " + serialize(EVENT | more) + b"\n"
    event = decode_event(record(value))
    assert (event.event_id, event.id, event.namespace, event.type) == (ID, ID, "default", "created")
    assert (event.timestamp, event.payload) == (EVENT["timestamp"], {"text": "hi"})
    assert (event.importance, type(event.importance), event.embedding) == (2.0, float, [1, 0.5])
    assert (event.model_revision, event.if_version, event.reason, event.actor) == ("m", 4, {"kind": "prune"}, "me")
    assert event.value == value


def test_decode_fills_in_what_is_missing() -> None:
    event = decode_event(record(serialize(EVENT)))
    assert event.importance == 1.0
    assert (event.embedding, event.model_revision, event.if_version, event.reason, event.actor) == (None,) * 5


def test_an_event_id_counts_in_lower_case() -> None:
    assert decode_event(record(serialize(EVENT | {"event_id": ID.upper()}))).event_id == ID


def test_a_record_without_value_is_rejected() -> None:
    assert refused(None).code == "null_value"


@pytest.mark.parametrize(
    "key", [None, b"", ID.upper().encode(), b"\xff\x00", ID.encode() + b"\n", ID.replace("0", "1").encode(), b"k" * 500]
)
def test_a_record_whose_key_is_not_the_id_is_rejected(key: bytes | None) -> None:
    error = refused(serialize(EVENT), key)
    assert (type(error), error.code, error.pointer) == (EventRejected, "key_mismatch", "/id")
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"{", b'{"a":NaN}', b"\x80\x04\x95", b"\xef\xbb\xbf{}", b'{"a":1,"a":1}']
)
def test_a_value_that_is_not_json_is_rejected(value: bytes) -> None:
    assert isinstance(refused(value), NotJson)


@pytest.mark.parametrize("value", [b"null", b"[]", b'"x"', b"1", b"{}"])
def test_a_value_that_is_no_event_is_rejected(value: bytes) -> None:
    error = refused(value)
    assert (type(error), error.code) == (EventRejected, "schema")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("timestamp", text)
            for text in ("", "2026-01-01", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", 1767225600)
        ),
        *(("importance", value) for value in ("1", None, True, [])),
        *(("embedding", value) for value in ({}, "1", None)),
        *(("namespace", value) for value in (None, 1, [])),
        *(("type", value) for value in ("CREATED", "", None, "upserted")),
        *(("payload", value) for value in (None, [], "text", 1)),
        ("model_revision", 7),
    ],
)
def test_a_value_that_the_schema_refuses_is_named(field: str, value: object) -> None:
    error = refused(serialize(EVENT | {field: value}))
    assert (error.code, error.pointer, error.details["pointer"]) == ("schema", f"/{field}", f"/{field}")
    assert field in error.message or repr(value)[:10] in error.message or str(value) in error.message


def test_an_element_that_the_schema_refuses_is_named() -> None:
    assert refused(serialize(EVENT | {"embedding": [0.5, "x"]})).pointer == "/embedding/1"


@pytest.mark.parametrize("field", list(EVENT))
def test_a_missing_field_is_named(field: str) -> None:
    error = refused(serialize({name: value for name, value in EVENT.items() if name != field}))
    assert error.code == "schema"
    assert field in error.message


def test_the_message_of_a_huge_value_is_short() -> None:
    assert len(refused(serialize(EVENT | {"payload": "x" * 100_000})).message) < 500


@pytest.mark.parametrize("importance", [0, -1, -1e300, 5e-324])
def test_a_worker_takes_any_importance_that_the_schema_takes(importance: float) -> None:
    """A rule that binds producers only: what lies in the log was judged when it was appended."""
    assert decode_event(record(serialize(EVENT | {"importance": importance}))).importance == importance


def test_a_worker_takes_any_time() -> None:
    assert decode_event(record(serialize(EVENT | {"timestamp": "9999-12-31T23:59:59Z"}))).timestamp.startswith("9999")
