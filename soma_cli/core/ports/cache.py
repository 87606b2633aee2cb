"""Copies of rows that are quicker to read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from soma_cli.core.memory import MemoryState
from soma_cli.core.results import Finding


class Cache(Protocol):
    """Copies of canonical rows that are quicker to read; may be away or empty at any time, and is never the truth.

    - put_never_goes_back: an entry is never replaced by one of an older version.
    - tombstones_are_kept: a deleted memory's entry says so, so that a late older `put` can't bring it back.
    - entries_expire: after the configured time nothing of an entry is left.

    Every method raises ServiceUnavailable where the cache is away, within its short timeout; callers go on without it.
    """

    def get(self, ids: Collection[str]) -> dict[str, MemoryState]:
        """What is known of these ids, tombstones too."""
        ...

    def put(self, states: Collection[MemoryState]) -> None: ...
    def health(self) -> list[Finding]: ...
    def close(self) -> None: ...
