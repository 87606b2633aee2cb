"""Appending one event, and settling what an idempotency key already stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from soma_cli.core.errors import CheckFailed, EventRejected, IdempotencyConflict, ServiceUnavailable, SomaError
from soma_cli.core.event import CREATED, DELETED, MemoryEvent, event_id_for, memory_id_for
from soma_cli.core.eventing.producer import append_events
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import EventLog, IndexIdentity, JournalEntry, MemoryStore
from soma_cli.core.record import Headers, Position
from soma_cli.core.results import Receipt
from soma_cli.core.serialization import deserialize

logger = logging.getLogger("soma")


def append_one(log: EventLog, event: MemoryEvent, key: str | None = None, headers: Headers = ()) -> Receipt:
    """Append an event that is known to be new. Raises ServiceUnavailable, which says whether anything was sent."""
    try:
        return receipt(event, str(append_events(log, [event], [headers])[0].position), duplicate=False)
    except ServiceUnavailable as error:
        if "uncertain" in error.details:
            error.hint = _after_failure(error.details["uncertain"], event.event_id, key) + error.hint
        raise


def _after_failure(uncertain: bool, event_id: str, key: str | None) -> str:
    if not uncertain:
        return "nothing was sent, so try again; "
    if key is not None:
        return "make the same call again with the same --idempotency-key: it counts once; "
    return (
        f"`soma trace {event_id}` says later whether it is there; with --idempotency-key the same call can be made "
        "again and counts once; "
    )


def receipt(event: MemoryEvent, position: str, *, duplicate: bool | None) -> Receipt:
    return Receipt(event.id, event.event_id, position, event.type, event.namespace, duplicate)


def not_given(**fields: object) -> set[str]:
    """The names of the fields that the caller left out, and that are filled in."""
    return {name for name, value in fields.items() if value is None}


def change_event_id(namespace: str | None, key: str | None) -> str | None:
    """The event_id of an update or delete with an idempotency key: by what the caller said, never by the memory's
    namespace, which may have changed when the call is made again."""
    return None if key is None else event_id_for("default" if namespace is None else namespace, key)


def earlier_receipt(store: MemoryStore, event: MemoryEvent, key: str, filled_in: AbstractSet[str]) -> Receipt | None:
    """The receipt of the same event where the journal holds it. Raises IdempotencyConflict for other content.

    `filled_in` names the fields that the caller did not give: they may differ.
    """
    if event.type == CREATED:
        _check_key_made_no_other(store, event, memory_id_for(event.namespace, key))
    event_key = (event.id, event.event_id)
    found = store.first_positions([event_key]).get(event_key)
    if found is None:
        return None
    check_same_content(event, found.event, found.position, filled_in)
    return replace(receipt(event, str(found.position), duplicate=True), namespace=_namespace(found))


def _namespace(entry: JournalEntry) -> str:
    assert entry.event is not None
    return str(deserialize(entry.event)["namespace"])


def _check_key_made_no_other(store: MemoryStore, event: MemoryEvent, id_of_key: str) -> None:
    """A key that stored the memory with an id of its own can't store another. Raises IdempotencyConflict."""
    key = (id_of_key, event.event_id)
    if event.id != id_of_key and (found := store.first_positions([key]).get(key)) is not None:
        raise _conflict(event, ["id"], found.position)


def check_same_content(
    event: MemoryEvent, found: bytes | None, where: Position | int, filled_in: AbstractSet[str]
) -> None:
    """The same key must mean the same event. `found` is the event that had it first, at a position or in a line."""
    assert found is not None
    if event.value == found:
        return
    ours, theirs = deserialize(event.value), deserialize(found)
    names = {*ours, *theirs} - filled_in
    differing = sorted(name for name in names if ours.get(name) != theirs.get(name))
    if differing:
        raise _conflict(event, differing, where)


def _conflict(event: MemoryEvent, differing: list[str], where: Position | int) -> IdempotencyConflict:
    place = f"at {where}" if isinstance(where, Position) else f"in line {where}"
    first = {"position": str(where)} if isinstance(where, Position) else {"line": where}
    return IdempotencyConflict(
        f"the same idempotency key was used {place} with other content ({', '.join(differing)} differ)",
        pointer=f"/{differing[0]}",
        hint="use another key, or `soma update` to change the memory",
        details={**first, "id": event.id, "event_id": event.event_id},
    )


def check_dimension(held: Callable[[], IndexIdentity], event: MemoryEvent) -> None:
    """Refuse at once what the indexer would bury: an embedding of the index's own model that does not fit it."""
    assert event.embedding is not None
    try:
        identity = held()
    except SomaError as error:  # away, damaged or misconfigured: writing needs the log alone
        logger.debug("the embedding's dimension is not compared with the index's: %s", error.message)
        return
    same_model = identity.model_revision == event.model_revision
    if identity.dimension is not None and same_model and len(event.embedding) != identity.dimension:
        raise EventRejected(
            f"the embedding has {len(event.embedding)} dimensions, the index has {identity.dimension}",
            pointer="/embedding",
            hint="give the embedding of the index's model, or name its own with --model-revision",
            code="wrong_dimension",
        )


def check_version(state: MemoryState, if_version: int | None, type: str) -> None:
    """Refuse at once what kv would ignore. Raises CheckFailed."""
    if if_version is not None and if_version != state.version:
        verb = "deleted" if type == DELETED else "updated"
        raise CheckFailed(
            f"memory {state.id} was not {verb}: it is at version {state.version}, not {if_version}",
            hint=f"look at it again with `soma get {state.id}`",
            code="version_conflict",
            details={"id": state.id, "version": state.version, "if_version": if_version},
        )
