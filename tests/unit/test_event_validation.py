"""The quick check of an event accepts what the shipped schema accepts, with a canonical id, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from soma_cli.core.errors import EventRejected
from soma_cli.core.event import _check, _surely_valid, validate_event

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
EVENT: dict[str, Any] = {
    "event_id": ID,
    "id": ID,
    "namespace": "default",
    "type": "created",
    "timestamp": "2026-01-01T00:00:00Z",
    "payload": {},
}
MISSING = object()
VALUES = [
    MISSING, None, True, 0, -1, 1.5, "", "x", [], [1], [1, "x"], {}, ID, ID.upper(), f"{ID}\n", f" {ID}", f"{ID}0",
    ID[:-1], ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("a", "ａ"), ID.replace("b", "g"),
    "created", "deleted", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01",
]  # fmt: skip
FIELDS = [*EVENT, "importance", "embedding", "model_revision", "unknown", "if_version", "reason", "actor"]
LEFT_TO_THE_SLOW_CHECK = {("if_version", 0), ("if_version", -1), ("reason", None), ("actor", None)}


def changed(field: str, value: object) -> dict[str, Any]:
    document = {**EVENT, field: value}
    if value is MISSING:
        del document[field]
    return document


@pytest.mark.parametrize("field", FIELDS)
def test_the_quick_check_and_the_schema_agree(field: str) -> None:
    for value in VALUES:
        document = changed(field, value)
        try:
            _check(document)
            valid = True
        except EventRejected:
            valid = False
        slow = type(value) in (int, type(None)) and (field, value) in LEFT_TO_THE_SLOW_CHECK
        assert _surely_valid()(document) == (valid and not slow), value


@pytest.mark.parametrize("document", [None, [], "x", 1, {}])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(EventRejected):
        validate_event(document)


@pytest.mark.parametrize(
    ("field", "value", "pointer", "code"),
    [
        ("id", ID.upper(), "/id", "id_not_canonical"),
        ("id", "x", "/id", "schema"),
        ("event_id", f"{ID}\n", "/event_id", "schema"),
        ("payload", [], "/payload", "schema"),
        ("if_version", "1", "/if_version", "schema"),
        ("if_version", 1.0, "/if_version", "schema"),
        ("if_version", True, "/if_version", "schema"),
        ("if_version", -2, "/if_version", "schema"),
        ("reason", "old", "/reason", "schema"),
        ("actor", 1, "/actor", "schema"),
    ],
)
def test_a_refusal_names_the_value(field: str, value: object, pointer: str, code: str) -> None:
    with pytest.raises(EventRejected) as refused:
        validate_event({**EVENT, field: value})
    assert (refused.value.pointer, refused.value.code) == (pointer, code)


@pytest.mark.parametrize(("field", "value"), [("if_version", None), ("if_version", -1), ("reason", {}), ("actor", "x")])
def test_extensions_that_fit_are_accepted(field: str, value: object) -> None:
    validate_event({**EVENT, field: value})


def test_an_event_id_in_upper_case_is_accepted() -> None:
    validate_event({**EVENT, "event_id": ID.upper()})
