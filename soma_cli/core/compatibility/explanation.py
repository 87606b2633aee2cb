"""Which assertions of a schema refuse a document, as violations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from soma_cli.core.compatibility.verdict import Violation
from soma_cli.core.compatibility.weakening import keyword_of
from soma_cli.core.serialization import json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator, ValidationError

_LONGEST_SENTENCE = 240
_WHOLE_VALUE = {"type", "const", "enum", "false"}


class Refusal(NamedTuple):
    """One assertion that refuses the document: where it stands in the schema, and, of `required`, the name."""

    violation: Violation
    path: list[str | int]
    name: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        return self.violation.pointer, self.name


def refusals(validator: Draft7Validator, document: Any) -> Iterator[Refusal]:
    """Raises ValueError where the document nests too deep for the validator."""
    for outer in validator.iter_errors(document):
        for error in _innermost(outer):
            path = list(error.schema_path)
            keyword = keyword_of(path)
            name = getattr(error.kind, "property", None) if keyword == "required" else None
            yield Refusal(Violation(json_pointer(path), keyword, _sentence(error), document), path, name)


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
    return any(keyword_of(error.schema_path) in ("const", "enum") for error in errors), len(errors)


def _of_whole_value(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.instance_path == outer.instance_path and keyword_of(inner.schema_path) in _WHOLE_VALUE


def _sentence(error: ValidationError) -> str:
    message = error.message
    if len(message) > _LONGEST_SENTENCE:
        message = f"{message[: _LONGEST_SENTENCE - 3]}..."
    where = json_pointer(error.instance_path)
    return f"{message} (at {where})" if where else message
