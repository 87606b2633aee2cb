"""What producers refuse, and what they fill in."""

from __future__ import annotations

import time
from typing import Any

import pytest

from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import EventRejected, InputRejected, NotJson, ServiceUnavailable, UsageError, ValueRefused
from soma_cli.core.event import event_id_for, is_canonical_uuid, memory_id_for, new_id
from soma_cli.core.eventing.producer import Draft, append_events, build_event, check_event, record_of
from soma_cli.core.instants import format_instant, now_us, parse_instant
from soma_cli.core.ports import Appended, EventLog
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.serialization import deserialize
from soma_cli.core.settings import LimitSettings

LIMITS = LimitSettings()
HI = {"text": "hi"}
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def built(payload: Any = HI, **fields: Any) -> dict[str, Any]:
    """The document of the event of a draft."""
    document = deserialize(build_event(Draft(payload, **fields), LIMITS).value)
    assert isinstance(document, dict)
    return document


def refused(payload: Any = HI, **fields: Any) -> InputRejected:
    with pytest.raises(InputRejected) as error:
        build_event(Draft(payload, **fields), LIMITS)
    return error.value


# --- what is filled in -------------------------------------------------------------------------------------------


def test_a_draft_of_a_payload_alone_becomes_a_whole_event() -> None:
    before = now_us()
    document = built()
    assert set(document) == {"event_id", "id", "namespace", "type", "timestamp", "payload"}
    assert (document["namespace"], document["type"], document["payload"]) == ("default", "created", HI)
    assert is_canonical_uuid(document["id"])
    assert document["id"][14] == document["event_id"][14] == "7"
    assert document["id"] != document["event_id"]
    assert before <= parse_instant(document["timestamp"]) <= now_us()


def test_what_is_given_is_kept() -> None:
    given: dict[str, Any] = {
        "id": ID,
        "event_id": new_id(),
        "namespace": "n",
        "type": "updated",
        "importance": 0.5,
        "embedding": [0.5, -1],
        "model_revision": "m",
        "if_version": -1,
        "reason": {"kind": "test"},
        "actor": "me",
    }
    document = built({"a": [1, None]}, **given)
    assert {name: document[name] for name in given} == given
    assert document["payload"] == {"a": [1, None]}


def test_unknown_fields_are_kept_and_never_replace_known_ones() -> None:
    document = built(namespace="mine", extra={"source": {"page": 3}, "namespace": "theirs", "id": "x"})
    assert (document["source"], document["namespace"]) == ({"page": 3}, "mine")
    assert document["id"] != "x"


def test_the_value_is_the_document_and_the_key_is_the_id() -> None:
    event = build_event(Draft(HI, importance=2, actor="me"), LIMITS)
    assert (event.importance, event.actor, event.payload) == (2.0, "me", HI)
    record = record_of(event, (("h", b"1"),))
    assert record == (EVENTS_TOPIC, event.id.encode(), event.value, (("h", b"1"),), None)


# --- ids and keys ------------------------------------------------------------------------------------------------


def test_an_idempotency_key_settles_both_ids() -> None:
    one, two = built(key="k", namespace="n"), built(key="k", namespace="n")
    assert (one["id"], one["event_id"]) == (two["id"], two["event_id"])
    assert (one["id"], one["event_id"]) == (memory_id_for("n", "k"), event_id_for("n", "k"))
    assert built(key="k", namespace="other")["id"] != one["id"]
    assert built(key="K", namespace="n")["event_id"] != one["event_id"]


def test_an_idempotency_key_leaves_given_ids_alone() -> None:
    event_id = new_id()
    document = built(key="k", id=ID, event_id=event_id)
    assert (document["id"], document["event_id"]) == (ID, event_id)
    assert built(key="k", id=ID)["event_id"] == event_id_for("default", "k")


@pytest.mark.parametrize("id", ["x", "", ID.upper(), f"{ID}\n", ID.replace("-", ""), 5, ["a"], {}])
def test_an_id_that_is_no_canonical_uuid_is_refused(id: Any) -> None:
    with pytest.raises(UsageError, match="is not a memory's id"):
        build_event(Draft(HI, id=id), LIMITS)


@pytest.mark.parametrize("event_id", ["x", 5, f"{ID} "])
def test_an_event_id_that_is_no_uuid_is_refused(event_id: Any) -> None:
    error = refused(event_id=event_id)
    assert (error.code, error.pointer) == ("schema", "/event_id")


@pytest.mark.parametrize(("key", "namespace"), [("\udcff", "n"), ("k", "\ud800")])
def test_a_key_that_is_no_text_is_refused(key: str, namespace: str) -> None:
    """A shell can hand over bytes that are not UTF-8; they arrive as lone surrogates."""
    error = refused(key=key, namespace=namespace)
    assert error.code == "lone_surrogate"


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "kind"),
    [("text", "a string"), ([1], "an array"), (None, "null"), (1, "a number"), (1.5, "a number"), (True, "a boolean")],
)
def test_a_payload_that_is_no_object_is_refused(payload: object, kind: str) -> None:
    error = refused(payload)
    assert (error.code, error.pointer) == ("payload_not_object", "/payload")
    assert kind in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("payload", "code", "pointer"),
    [
        ({"a": float("nan")}, "nan_or_infinity", "/payload/a"),
        ({"a": [1, float("inf")]}, "nan_or_infinity", "/payload/a/1"),
        ({"a": {"b": "\ud800"}}, "lone_surrogate", "/payload/a/b"),
        ({"a": "x\0y"}, "null_character", "/payload/a"),
        ({"a/b~": 2**64}, "integer_range", "/payload/a~1b~0"),
        ({"a": -(2**63) - 1}, "integer_range", "/payload/a"),
        ({"a": (1, 2)}, "not_json", "/payload/a"),
        ({"a": object()}, "not_json", "/payload/a"),
        ({1: "a"}, "not_json", "/payload"),
    ],
)
def test_a_value_that_no_store_can_hold_is_refused(payload: Any, code: str, pointer: str) -> None:
    error = refused(payload)
    assert (type(error), error.code, error.pointer) == (NotJson, code, pointer)


def test_a_payload_that_nests_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(250):
        deep = {"a": deep}
    assert refused(deep).code == "too_deep"


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"importance": 0}, "importance", "/importance"),
        ({"importance": -0.0}, "importance", "/importance"),
        ({"importance": -1}, "importance", "/importance"),
        ({"importance": True}, "schema", "/importance"),
        ({"importance": "1"}, "schema", "/importance"),
        ({"importance": float("nan")}, "nan_or_infinity", "/importance"),
        ({"importance": float("inf")}, "nan_or_infinity", "/importance"),
        ({"embedding": []}, "embedding", "/embedding"),
        ({"embedding": [0.1, 3.5e38]}, "embedding", "/embedding/1"),
        ({"embedding": [-3.5e38, 0.1]}, "embedding", "/embedding/0"),
        ({"embedding": [0.1, float("nan")]}, "nan_or_infinity", "/embedding/1"),
        ({"embedding": [0.1, True]}, "schema", "/embedding/1"),
        ({"embedding": "0.1"}, "schema", "/embedding"),
        ({"type": "upserted"}, "schema", "/type"),
        ({"type": []}, "schema", "/type"),
        ({"type": "deleted"}, "schema", "/payload"),
        ({"namespace": 5}, "schema", "/namespace"),
        ({"namespace": "a\0"}, "null_character", "/namespace"),
        ({"model_revision": 5}, "schema", "/model_revision"),
        ({"if_version": -2}, "schema", "/if_version"),
        ({"if_version": 1.0}, "schema", "/if_version"),
        ({"if_version": True}, "schema", "/if_version"),
        ({"reason": "old"}, "schema", "/reason"),
        ({"actor": {}}, "schema", "/actor"),
        ({"extra": {"a": float("nan")}}, "nan_or_infinity", "/a"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(fields: dict[str, Any], code: str, pointer: str) -> None:
    error = refused(**fields)
    assert (error.code, error.pointer) == (code, pointer)
    assert error.exit_code == 5


def test_values_at_the_limits_are_taken() -> None:
    document = built(importance=5e-324, embedding=[1.3e19, -1.3e19], if_version=0)
    assert document["importance"] == 5e-324
    assert built({"max": 2**64 - 1, "min": -(2**63)})["payload"] == {"max": 2**64 - 1, "min": -(2**63)}
    assert built({}, type="deleted")["payload"] == {}


def test_an_embedding_is_refused_as_a_value() -> None:
    assert isinstance(refused(embedding=[]), ValueRefused)


def test_the_size_limit_counts_the_bytes_of_the_whole_event() -> None:
    size = len(build_event(Draft({"text": "ü" * 50}), LIMITS).value)
    assert build_event(Draft({"text": "ü" * 50}), LimitSettings(event_bytes=size))
    with pytest.raises(EventRejected, match=f"{size} bytes; the limit is {size - 1}") as error:
        build_event(Draft({"text": "ü" * 50}), LimitSettings(event_bytes=size - 1))
    assert (error.value.code, error.value.hint != "") == ("too_large", True)


def test_check_event_judges_a_whole_document() -> None:
    document = built()
    assert check_event(document, LIMITS).id == document["id"]
    ahead = "2999-01-01T00:00:00.000000Z"
    assert check_event(document | {"timestamp": ahead}, LIMITS).timestamp == ahead
    for changed, code in (
        (document | {"importance": 0}, "importance"),
        (document | {"id": ID.upper()}, "id_not_canonical"),
        (document | {"payload": []}, "payload_not_object"),
        ({name: document[name] for name in document if name != "event_id"}, "schema"),
    ):
        with pytest.raises(InputRejected) as error:
            check_event(changed, LIMITS)
        assert error.value.code == code


# --- timestamps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000000Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500000Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123000Z"),
        ("1700000000", "2023-11-14T22:13:20.000000Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_a_timestamp_is_written_in_utc_with_microseconds(given: str | float, written: str) -> None:
    assert built(timestamp=given)["timestamp"] == written


@pytest.mark.parametrize(
    "given", ["", "yesterday", "2026-13-01", True, False, float("nan"), float("inf"), -1, 10**18, [], {}, b"2026-01-01"]
)
def test_a_timestamp_that_is_no_time_is_refused(given: Any) -> None:
    error = refused(timestamp=given)
    assert (error.code, error.pointer) == ("timestamp", "/timestamp")
    assert error.hint


def test_a_timestamp_may_lie_a_little_ahead_and_no_more() -> None:
    assert built(timestamp=time.time() + 290)
    error = refused(timestamp=time.time() + 310)
    assert (error.code, error.pointer) == ("timestamp", "/timestamp")
    assert "300 s ahead" in error.message
    ahead = format_instant(now_us() + 50_000_000)
    with pytest.raises(EventRejected, match="ahead"):
        build_event(Draft(HI, timestamp=ahead), LimitSettings(future_s=10))


def test_a_duration_lies_before_now() -> None:
    assert abs(parse_instant(built(timestamp="-1h")["timestamp"]) - (now_us() - 3_600_000_000)) < 5_000_000


# --- appending ---------------------------------------------------------------------------------------------------


def test_append_events_keeps_their_order(tmp_path: Any) -> None:
    log = SqliteEventLog(open_data_folder(tmp_path))
    events = [build_event(Draft({"n": number}), LIMITS) for number in range(3)]
    appended = append_events(log, events)
    assert [receipt.position.offset for receipt in appended] == [0, 1, 2]
    assert [item.value for item in log.scan(EVENTS_TOPIC, 0, 0, 3)] == [event.value for event in events]
    log.close()


class AwayLog(SqliteEventLog):
    """A log whose answer never comes: the record may or may not be in it."""

    def append(self, records: Any) -> list[Appended]:
        raise ServiceUnavailable("no answer from the log")


def test_a_failed_append_carries_the_ids(tmp_path: Any) -> None:
    log: EventLog = AwayLog(open_data_folder(tmp_path))
    event = build_event(Draft(HI), LIMITS)
    with pytest.raises(ServiceUnavailable) as error:
        append_events(log, [event])
    assert error.value.details == {"id": event.id, "event_id": event.event_id}
    log.close()
