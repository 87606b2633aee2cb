"""A memory's state as one value of the cache, and back.

    <format> <version> {"id": ..., "namespace": ...}\\n{... the payload, byte for byte ...}

Format and version come first and stay there in every format to come, because the guard compares the versions of
entries that another soma wrote. What cannot be read, or is of another format, counts as absent.
"""

from __future__ import annotations

from typing import Any

from soma_cli.core.memory import MemoryState
from soma_cli.core.serialization import deserialize, serialize_known

FORMAT = 1

_KINDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "namespace": (str,),
    "importance": (float, int),
    "created_at": (int,),
    "updated_at": (int,),
    "last_event_id": (str,),
    "model_revision": (str, type(None)),
    "deleted": (bool,),
}


def encode(state: MemoryState) -> bytes:
    """The entry of a state."""
    fields = {name: getattr(state, name) for name in _KINDS}
    return b"%d %d %b\n%b" % (FORMAT, state.version, serialize_known(fields), state.payload_json)


def decode(id: str, entry: bytes | None) -> MemoryState | None:
    """The state that the entry holds of this memory; None for what is none of ours."""
    if entry is None or not entry.startswith(b"%d " % FORMAT):
        return None
    try:
        _, version, rest = entry.split(b" ", 2)
        head, payload = rest.split(b"\n", 1)
        fields = deserialize(head)
        if not _is_of(id, fields) or not isinstance(deserialize(payload), dict):
            return None
        return MemoryState(version=int(version), payload_json=payload, **{name: fields[name] for name in _KINDS})
    except ValueError:  # NotJson is one
        return None


def _is_of(id: str, fields: Any) -> bool:
    return (
        isinstance(fields, dict)
        and fields.get("id") == id
        and all(name in fields and type(fields[name]) in kinds for name, kinds in _KINDS.items())
    )
