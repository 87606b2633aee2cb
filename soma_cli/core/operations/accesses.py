"""Access statistics. They must not fail a read: what cannot be told or counted is a warning."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from soma_cli.core.errors import SomaError
from soma_cli.core.instants import now_us
from soma_cli.core.ports import Access, MemoryStore

logger = logging.getLogger("soma")


def known(store: MemoryStore, ids: Sequence[str]) -> dict[str, Access]:
    """What was counted of these ids so far."""
    try:
        return store.access(ids)
    except SomaError as error:
        logger.warning("the accesses so far can't be told: %s", error.message)
        return {}


def count(store: MemoryStore, ids: Sequence[str]) -> None:
    """One access more of each, now. A full disk or a read-only folder costs the count, not the answer."""
    try:
        if ids:
            store.record_access(ids, now_us())
    except SomaError as error:
        logger.warning("the access was not counted: %s", error.message)
