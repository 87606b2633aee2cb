"""What goes through `embedding.requests` and `embedding.responses`: JSON, keyed by the memory's id.

A request holds `id`, `version` and `text`; its response `id`, `version`, `model_revision` and `embedding`. The version
says which state of the memory the text was: a vector that comes back later than a newer state is of no use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from soma_cli.core.embedding import check_embedding
from soma_cli.core.errors import EventRejected
from soma_cli.core.event import is_canonical_uuid
from soma_cli.core.record import REQUESTS_TOPIC, RESPONSES_TOPIC, NewRecord, Record
from soma_cli.core.serialization import deserialize, serialize


class EmbeddingRequest(NamedTuple):
    id: str
    version: int
    text: str

    def record(self) -> NewRecord:
        return NewRecord(REQUESTS_TOPIC, self.id.encode(), serialize(self._asdict()))


class EmbeddingResponse(NamedTuple):
    id: str
    version: int
    model_revision: str
    embedding: list[float]

    def record(self) -> NewRecord:
        return NewRecord(RESPONSES_TOPIC, self.id.encode(), serialize(self._asdict()))


def request_of(record: Record) -> EmbeddingRequest:
    """Raises InputRejected for what is none."""
    document = _document(record)
    return EmbeddingRequest(_id(document), _field(document, "version", int), _field(document, "text", str))


def response_of(record: Record) -> EmbeddingResponse:
    """Raises InputRejected for what is none."""
    document = _document(record)
    embedding = _field(document, "embedding", list)
    if not embedding or not all(type(item) in (int, float) for item in embedding):
        raise EventRejected("the embedding is not an array of numbers", pointer="/embedding", code="schema")
    check_embedding(embedding)
    return EmbeddingResponse(
        _id(document), _field(document, "version", int), _field(document, "model_revision", str), embedding
    )


def _document(record: Record) -> dict[str, Any]:
    if record.value is None:
        raise EventRejected("the record has no value", code="null_value")
    document = deserialize(record.value)
    if not isinstance(document, dict):
        raise EventRejected("the record is not a JSON object", code="schema")
    return document


def _id(document: dict[str, Any]) -> str:
    id = _field(document, "id", str)
    if not is_canonical_uuid(id):
        raise EventRejected(
            f"id {id[:80]!r} is not a canonical lower-case UUID", pointer="/id", code="id_not_canonical"
        )
    return str(id)


def _field(document: dict[str, Any], name: str, kind: type) -> Any:
    if type(value := document.get(name)) is not kind:
        raise EventRejected(f"{name} is missing or not of type {kind.__name__}", pointer=f"/{name}", code="schema")
    return value
