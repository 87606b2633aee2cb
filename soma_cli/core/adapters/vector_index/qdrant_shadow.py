"""A collection that is made anew from the log beside the live one, compared with it, and put in its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from soma_cli.core.adapters.vector_index.comparison import (
    OFFSET_MASK,
    Kind,
    Positions,
    Tally,
    difference,
    merged,
    passed_by_one_only,
)
from soma_cli.core.adapters.vector_index.qdrant_catalogue import BEAT_S, QdrantCatalogue
from soma_cli.core.adapters.vector_index.qdrant_collection import PAGE, QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer
from soma_cli.core.errors import SomaError
from soma_cli.core.ports import Difference, IndexIdentity, IndexPoint, PartitionOf, PointSummary

POLL_S = 0.05
"""How often a point that is ahead of its collection's position is looked at again."""
PATIENCE_S = 2.0
"""How long a comparison waits, once, for workers that have written points and not yet their position."""


class QdrantShadow:
    """`IndexShadow`: a collection without alias. A thread of its own says every 20 s that the rebuild is alive, so that
    another rebuild does not take the collection for one that was left behind."""

    def __init__(self, server: QdrantServer, catalogue: QdrantCatalogue, made: QdrantCollection) -> None:
        self._server = server
        self._catalogue = catalogue
        self._made = made
        self._may_be_live = False
        self._ended = threading.Event()
        threading.Thread(target=self._beat, name="soma-index-rebuild", daemon=True).start()

    @classmethod
    def begin(
        cls, server: QdrantServer, catalogue: QdrantCatalogue, identity: IndexIdentity, language: str
    ) -> QdrantShadow:
        """An empty one; what rebuilds that died left behind is deleted, a rebuild that still runs keeps its own."""
        catalogue.delete_abandoned()
        name = catalogue.new_name(identity.model_revision)
        made = QdrantCollection.create(server, name, catalogue.alias, identity, language)
        return cls(server, catalogue, made)

    def identity(self) -> IndexIdentity:
        return self._made.about().identity

    def adopt(self, identity: IndexIdentity) -> None:
        self._made.adopt(identity)

    def positions(self, topic_id: str) -> dict[int, int]:
        return self._made.positions()[1].get(topic_id, {})

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        self._made.write(points, topic_id, positions)

    def compare(self, partition_of: PartitionOf) -> Difference:
        """Both are read while workers go on, so what differs at first is looked at again at the end.

        A state that only one side can have seen, by the stored positions, is left out. A tombstone on one side only is
        no difference where the other has nothing. Where there is no live collection, all is missing.
        """
        name = self._catalogue.live()
        live = None if name is None else QdrantCollection(self._server, name)
        return _Comparison(live, self._made).run(partition_of)

    def swap(self, catch_up: Callable[[], None]) -> None:
        """Run `catch_up`, then let the alias lead to the shadow, and delete the old collection.

        Nobody can be kept from writing to a server, and nobody need be. Points, identity and positions all lie in the
        collection, so the alias switches them in one step. A worker writes to the collection whose positions it read
        (never through the alias). So a batch that it finishes after `catch_up` raises points and position of the old
        collection only; the new one's position still lies before that batch, and the worker, which reads it for its
        next batch, goes back there and indexes the batch again. A search or a scan that was on its way in the old
        collection is done again in the new one, or raises ServiceUnavailable.

        If the switch fails, nobody knows whether it took place: then the shadow is not deleted, by `discard` neither.
        """
        catch_up()
        self._made.beat()
        old = self._catalogue.live()
        self._may_be_live = True
        self._catalogue.switch(self._made.name)
        self._ended.set()
        if old is not None and old != self._made.name:
            with suppress(SomaError):  # The next shadow deletes it.
                QdrantCollection(self._server, old).delete()

    def discard(self) -> None:
        """Also after `swap`, when there is nothing left to discard; what a server that is away keeps, the next shadow
        deletes."""
        if self._ended.is_set():
            return
        self._ended.set()
        if not self._may_be_live:
            with suppress(SomaError):
                self._made.delete()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(SomaError):
                self._made.beat()


class _Comparison:
    def __init__(self, live: QdrantCollection | None, made: QdrantCollection) -> None:
        self._live = live
        self._made = made
        self._made_about, self._made_at = made.positions()
        self._deadline: float | None = None
        self._tally = Tally()

    def run(self, partition_of: PartitionOf) -> Difference:
        suspects = []
        for live, made in merged(_points(self._live), _points(self._made)):
            self._tally.compared += 1
            if difference(live, made) is not None:
                suspects.append((live or made).id)  # type: ignore[union-attr]
        for at in range(0, len(suspects), PAGE):
            some = suspects[at : at + PAGE]
            self._look_again(dict(zip(some, partition_of(some), strict=True)))
        return self._tally.difference()

    def _look_again(self, partitions: dict[str, int]) -> None:
        """Count what differs still. The position is written after the points, so a live point that is ahead of its
        position may be that of a worker between the two."""
        if self._deadline is None:
            self._deadline = time.monotonic() + PATIENCE_S
        while True:
            kinds = self._differing(partitions)
            if not any(ahead for _, ahead in kinds.values()) or time.monotonic() > self._deadline:
                break
            time.sleep(POLL_S)
        for id, (kind, _) in kinds.items():
            self._tally.count(kind, id)

    def _differing(self, partitions: dict[str, int]) -> dict[str, tuple[Kind, bool]]:
        """What differs by id, and whether the live point is ahead of the live position."""
        before, live, after = self._live_points(list(partitions))
        made = self._made.summaries(list(partitions), self._made_about)
        found: dict[str, tuple[Kind, bool]] = {}
        for id, partition in partitions.items():
            mine, its = made.get(id), live.get(id)
            kind = difference(its, mine)
            early = _passed(its, partition, after, self._made_at) or _passed(mine, partition, self._made_at, before)
            if kind is not None and not early:
                found[id] = kind, its is not None and _is_ahead(its.version, partition, after)
        return found

    def _live_points(self, ids: list[str]) -> tuple[Positions, dict[str, PointSummary], Positions]:
        """The live points, and the positions before and after they were read."""
        if self._live is None:
            return {}, {}, {}
        about, before = self._live.positions()
        points = self._live.summaries(ids, about)
        return before, points, self._live.positions()[1]


def _points(collection: QdrantCollection | None) -> Iterator[PointSummary]:
    if collection is not None:
        for page in collection.pages(collection.about()):
            yield from page


def _passed(point: PointSummary | None, partition: int, ahead: Positions, behind: Positions) -> bool:
    return point is not None and passed_by_one_only(point.version, partition, ahead, behind)


def _is_ahead(version: int, partition: int, positions: Positions) -> bool:
    return bool(positions) and all((version & OFFSET_MASK) >= ends.get(partition, 0) for ends in positions.values())
