"""The embedded search index: the qdrant-edge engine in this process, its files under one folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from soma_cli.core.adapters.vector_index import generations
from soma_cli.core.adapters.vector_index.edge_shadow import PAGE, QdrantEdgeShadow, live_points
from soma_cli.core.adapters.vector_index.live_generation import LiveGeneration
from soma_cli.core.ports import Hit, IndexIdentity, IndexPoint, IndexQuery, PointSummary, Provisioned
from soma_cli.core.results import Finding


class QdrantEdgeIndex:
    """`VectorIndex` on qdrant-edge, for any number of processes and threads on one machine.

    The engine lets one process at a time open a shard, so every use takes a lease (lease.py): kept while it is used,
    handed over between operations, let go of after a second. `identity` and `positions` read a small file and never
    wait. An operation that waits longer than `wait_s` seconds raises ServiceUnavailable (`index_busy`).

    `language` and `identity` shape the collection when it is made, at first use or by a rebuild; one that is there
    keeps its own, so that its texts and the searches for them are always taken apart alike.
    """

    def __init__(
        self, folder: Path, *, language: str = "english", identity: IndexIdentity | None = None, wait_s: float = 30.0
    ) -> None:
        self._identity = identity or IndexIdentity(None, None)
        self._live = LiveGeneration(folder, language, self._identity, wait_s)

    def provision(self) -> Provisioned:
        """What differs from the settings stays as it was made; `health` and `stats` tell."""
        there = self._live.meta() is not None
        self.count()
        return Provisioned([] if there else ["index"], ["index"] if there else [], [])

    def identity(self) -> IndexIdentity:
        meta = self._live.meta()
        return meta.identity if meta else self._identity

    def adopt(self, identity: IndexIdentity) -> None:
        with self._live.use() as live:
            live.adopt(identity)

    def positions(self, topic_id: str) -> dict[int, int]:
        meta = self._live.meta()
        return dict(meta.positions.get(topic_id, {})) if meta else {}

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        """The first embedding settles the dimension where `adopt` has not."""
        with self._live.use() as live:
            live.write(points, topic_id, positions)

    def search(self, query: IndexQuery) -> list[Hit]:
        """Nothing but stop words finds nothing. Raises ValueRefused for an embedding of another dimension."""
        with self._live.use() as live:
            return live.search(query)

    def versions(self, ids: Collection[str]) -> dict[str, int]:
        """Of the points that are there, tombstones too."""
        wanted, known = iter(ids), dict[str, int]()
        while some := list(islice(wanted, PAGE)):
            with self._live.use() as live:
                known |= live.versions(some)
        return known

    def scan(self) -> Iterator[PointSummary]:
        """All points, tombstones too, in order of id. What others write meanwhile may or may not be among them."""
        return live_points(self._live)

    def count(self) -> int:
        with self._live.use() as live:
            return live.counts()[0]

    def stats(self) -> dict[str, Any]:
        """points, tombstones (numbers), bytes (on disk), generation, model_revision, dimension, language, segments."""
        with self._live.use() as live:
            points, tombstones = live.counts()
            return {
                "where": str(self._live.root),
                "points": points,
                "tombstones": tombstones,
                "bytes": generations.size_on_disk(live.folder),
                "generation": live.folder.name,
                "model_revision": live.meta.identity.model_revision,
                "dimension": live.meta.identity.dimension,
                "language": live.meta.language,
                "segments": live.segments(),
            }

    def health(self, *, deep: bool = False) -> list[Finding]:
        """Loads the live generation; `deep` reads every point. Makes one where there is none, as every use does."""
        found = self.stats()
        read = f", read {sum(1 for _ in self.scan()):,}" if deep else ""
        message = (
            f"generation {found['generation']}: points {found['points']:,}, tombstones {found['tombstones']:,}{read}"
        )
        findings = [Finding("index", "ok", message)]
        if dead := generations.abandoned(self._live.root):
            left = f"what a dead rebuild left behind takes up space: {', '.join(dead)}"
            findings.append(Finding("leftovers", "warning", left, "the next `soma replay --into vector` deletes it"))
        return findings

    def shadow(self, identity: IndexIdentity) -> QdrantEdgeShadow:
        """A new generation in a folder of its own; works also where the live one is corrupt."""
        return QdrantEdgeShadow.begin(self._live, identity)

    def release(self) -> None:
        self._live.release()

    def close(self) -> None:
        self._live.release()
