"""What there is to say of a collection on a Qdrant server, for `doctor` and `init`."""

from __future__ import annotations

from typing import Any

from soma_cli.core.adapters.vector_index.qdrant_catalogue import QdrantCatalogue
from soma_cli.core.adapters.vector_index.qdrant_collection import FIELDS, QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_reserved import About
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer
from soma_cli.core.ports import IndexIdentity
from soma_cli.core.results import Finding

REBUILD = "soma replay --into vector --execute"
_STATUS = {
    "green": ("ok", ""),
    "yellow": ("ok", ""),
    "grey": ("warning", "the server waits with its optimizations since it was started; any write sets them going"),
}
"""Green: all is optimized; yellow: the server is at it; grey: it has something to do, and is not at it."""


def findings(
    live: QdrantCollection,
    about: About,
    server: QdrantServer,
    stats: dict[str, Any],
    read: int | None,
    catalogue: QdrantCatalogue,
) -> list[Finding]:
    """`read`: how many points were read, if they were."""
    found = [_collection(stats, server, read)]
    if lacking := [field for field in FIELDS if field not in live.info().payload_schema]:
        message = f"{live.name} has no payload index for {', '.join(lacking)}: filters read every point"
        found.append(Finding("index fields", "warning", message, "`soma init` makes them"))
    if dead := catalogue.abandoned():
        left = f"what a dead rebuild left behind takes up space: {', '.join(dead)}"
        found.append(Finding("leftovers", "warning", left, "the next `soma replay --into vector` deletes it"))
    if server.key_is_open:
        message = f"the API key goes unencrypted to {server.where}"
        found.append(Finding("index key", "warning", message, "let index.url begin with https"))
    return found


def differing(about: About, wanted: IndexIdentity, language: str) -> list[Finding]:
    """What the collection was made with and the settings name otherwise."""
    pairs = {
        "index.model_revision": (about.identity.model_revision, wanted.model_revision),
        "index.dimension": (about.identity.dimension, wanted.dimension),
        "index.language": (about.language, language),
    }
    return [
        Finding(
            key,
            "warning",
            f"{about.collection} was made with {held}, the settings say {said}",
            f"to make it anew: {REBUILD}",
        )
        for key, (held, said) in pairs.items()
        if held is not None and said is not None and held != said
    ]


def _collection(stats: dict[str, Any], server: QdrantServer, read: int | None) -> Finding:
    level, hint = _STATUS.get(stats["status"], ("error", "see the server's log"))
    message = (
        f"Qdrant {server.version} at {server.where}, collection {stats['collection']} ({stats['status']}): "
        f"points {stats['points']:,}, tombstones {stats['tombstones']:,}"
    )
    return Finding("index", level, message if read is None else f"{message}, read {read:,}", hint)
