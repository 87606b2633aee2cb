"""Asking the validator: what soma's own validator does is what a verdict is about."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_UUID = re.compile(UUID[1:-1])


def validator(schema: Any) -> Draft7Validator:
    """The validator of a schema, with the meaning of formats that events are validated with.

    Raises jsonschema_rs.ValidationError where the schema is none.
    """
    import jsonschema_rs

    return jsonschema_rs.Draft7Validator(schema, formats={"uuid": _is_uuid}, validate_formats=True, offline=True)


@functools.lru_cache(maxsize=1024)
def accepting(schema: str) -> Callable[[Any], bool]:
    """Whether a schema, given as JSON, accepts a value."""
    return validator(json.loads(schema)).is_valid


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None
