"""Which assertions of a schema refuse a document, as violations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from soma_cli.core.compatibility.documents import Document, Untreated
from soma_cli.core.compatibility.verdict import Violation
from soma_cli.core.compatibility.weakening import keyword_of
from soma_cli.core.serialization import json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator, ValidationError

_LONGEST_SENTENCE = 240
_WHOLE_VALUE = {"type", "const", "enum", "false"}


class Refusal(NamedTuple):
    """One assertion that refuses the document; `name` is the one that `required` asks for."""

    violation: Violation
    name: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        return self.violation.pointer, self.name


def refusals(schema: Any, validator: Draft7Validator, document: Any) -> Iterator[Refusal]:
    """Raises ValueError where the document nests too deep for the validator."""
    for outer in validator.iter_errors(document):
        for error in _innermost(outer):
            pointer = _pointer(schema, error)
            keyword = keyword_of(pointer)
            name = getattr(error.kind, "property", None) if keyword == "required" else None
            yield Refusal(Violation(pointer, keyword, _sentence(error), document), name)


def _pointer(schema: Any, error: ValidationError) -> str:
    """The validator's own path begins anew at each `$id`, its evaluation's goes through references."""
    path = list(error.evaluation_path)
    if "$ref" not in path:
        return json_pointer(path)
    try:
        return Document(schema).place_of(path).pointer
    except (LookupError, TypeError, Untreated):
        return json_pointer(error.schema_path)


def _innermost(error: ValidationError) -> Iterator[ValidationError]:
    """The errors of the one alternative that the document was meant for, where that is plain: it is not refused as a
    whole, nor for a constant (which tells alternatives apart) if others are not, and has the fewest errors."""
    alternatives = getattr(error.kind, "context", None)
    meant = [errors for errors in alternatives or () if not any(_of_whole_value(one, error) for one in errors)]
    nearest = min(map(_distance, meant), default=None)
    closest = [errors for errors in meant if _distance(errors) == nearest]
    if len(closest) == 1:
        for inner in closest[0]:
            yield from _innermost(inner)
    else:
        yield error


def _distance(errors: list[ValidationError]) -> tuple[bool, int]:
    return any(keyword_of(json_pointer(error.schema_path)) in ("const", "enum") for error in errors), len(errors)


def _of_whole_value(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.instance_path == outer.instance_path and keyword_of(json_pointer(inner.schema_path)) in _WHOLE_VALUE


def _sentence(error: ValidationError) -> str:
    message = error.message
    if len(message) > _LONGEST_SENTENCE:
        message = f"{message[: _LONGEST_SENTENCE - 3]}..."
    where = json_pointer(error.instance_path)
    return f"{message} (at {where})" if where else message
