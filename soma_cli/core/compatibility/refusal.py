"""Schemas that cannot be compared at all: they are no draft-07 schemas, or do not stand alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soma_cli.core.compatibility.validation import validator
from soma_cli.core.errors import InputRejected
from soma_cli.core.serialization import json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

DRAFT_07 = "http://json-schema.org/draft-07/schema"


def refused_schema(schema: Any) -> None:
    """Raise InputRejected, with a pointer, unless this is a draft-07 schema whose `$ref`s all lead into itself."""
    accepted_schema(schema)


def accepted_schema(schema: Any) -> Draft7Validator:
    """Its validator; raises InputRejected as `refused_schema` does."""
    if isinstance(schema, dict):
        _refuse_other_draft(schema.get("$schema", DRAFT_07))
    import jsonschema_rs

    try:
        return validator(schema)
    except jsonschema_rs.ValidationError as error:
        raise InputRejected(
            f"this is not a draft-07 JSON Schema that stands alone: {error.message}",
            pointer=json_pointer(error.instance_path),
            code="not_a_schema",
            hint="mend the schema; put what a $ref leads to under definitions",
        ) from error
    except ValueError as error:
        raise InputRejected(
            f"the validator cannot take the schema: {error}",
            code="not_a_schema",
            hint="mend the schema, or nest it less deep",
        ) from error


def _refuse_other_draft(name: object) -> None:
    if not isinstance(name, str) or name.removesuffix("#").replace("https:", "http:") != DRAFT_07:
        raise InputRejected(
            f"the schema's draft is {name!r}, and only draft-07 is compared",
            pointer="/$schema",
            code="draft",
            hint=f"set $schema to {DRAFT_07}# where the schema means the same in draft-07",
        )
