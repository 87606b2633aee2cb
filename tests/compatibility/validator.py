"""What accepts a document: jsonschema-rs, told what soma tells it when it validates an event."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def validator(schema: Any) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(
        schema,
        formats={"uuid": lambda text: _UUID.fullmatch(text) is not None},
        validate_formats=True,
        offline=True,
    )


def is_witness(document: Any, writer: Any, reader: Any) -> bool:
    """Whether the writer's schema accepts the document and the reader's refuses it."""
    return validator(writer).is_valid(document) and not validator(reader).is_valid(document)
