"""A generation that is made anew from the log beside the live one, compared with it, and put in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

from filelock import FileLock

from soma_cli.core.adapters.vector_index import generations
from soma_cli.core.adapters.vector_index.comparison import Positions, Tally, difference, merged, passed_by_one_only
from soma_cli.core.adapters.vector_index.edge_collection import EdgeCollection
from soma_cli.core.adapters.vector_index.live_generation import LiveGeneration
from soma_cli.core.errors import DataFolderError
from soma_cli.core.ports import Difference, IndexIdentity, IndexPoint, PartitionOf, PointSummary

PAGE = 1000
"""Points read at a time; between pages the live generation is handed over to whoever waits."""


def live_points(live: LiveGeneration) -> Iterator[PointSummary]:
    """All points of the live generation in order of id, page by page."""
    start: str | None = None
    while True:
        with live.use() as collection:
            page = collection.page(start, PAGE)
        yield from page.points
        start = page.following
        if start is None:
            return


class QdrantEdgeShadow:
    """`IndexShadow`: its points need not survive a crash before `swap`, so that nothing is flushed until then."""

    def __init__(self, live: LiveGeneration, made: EdgeCollection, lock: FileLock) -> None:
        self._live = live
        self._made = made
        self._lock = lock

    @classmethod
    def begin(cls, live: LiveGeneration, identity: IndexIdentity) -> QdrantEdgeShadow:
        """An empty one; what rebuilds that died left behind is deleted, a rebuild that still runs keeps its own."""
        with live.hold():
            live.delete_abandoned()
            folder = generations.new_generation(live.root)
            lock = generations.building_lock(folder)
            lock.acquire(blocking=False)
        return cls(live, EdgeCollection.create(folder, identity, live.language, durable=False), lock)

    def identity(self) -> IndexIdentity:
        return self._made.meta.identity

    def adopt(self, identity: IndexIdentity) -> None:
        self._made.adopt(identity)

    def positions(self, topic_id: str) -> dict[int, int]:
        return dict(self._made.meta.positions.get(topic_id, {}))

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        self._made.write(points, topic_id, positions)

    def compare(self, partition_of: PartitionOf) -> Difference:
        """Both are read while workers go on, so what differs at first is looked at again at the end.

        A state that only one side can have seen, by the stored positions, is left out. A tombstone on one side only is
        no difference where the other has nothing. Where the live collection is corrupt, all is missing.
        """
        try:
            return self._compare(partition_of)
        except DataFolderError:
            return self._all_missing()

    def swap(self, catch_up: Callable[[], None]) -> None:
        with self._live.hold():
            catch_up()
            self._made.flush()
            self._made.close()
            self._live.replace(self._made.folder)
            self._lock.release()

    def discard(self) -> None:
        """Also after `swap`, when there is nothing left to discard."""
        if not self._lock.is_locked:
            return
        self._made.close()
        shutil.rmtree(self._made.folder, ignore_errors=True)
        self._lock.release()

    def _compare(self, partition_of: PartitionOf) -> Difference:
        tally, suspects = Tally(), []
        for live, made in merged(live_points(self._live), self._points()):
            tally.compared += 1
            if difference(live, made) is not None:
                suspects.append((live or made).id)  # type: ignore[union-attr]
        for at in range(0, len(suspects), PAGE):
            some = suspects[at : at + PAGE]
            self._look_again(dict(zip(some, partition_of(some), strict=True)), tally)
        return tally.difference()

    def _look_again(self, ids: Mapping[str, int], tally: Tally) -> None:
        with self._live.use() as collection:
            live, live_at = collection.summaries(ids), collection.meta.positions
            made, made_at = self._made.summaries(ids), self._made.meta.positions
            for id, partition in ids.items():
                kind = difference(live.get(id), made.get(id))
                if kind and not _too_early(live.get(id), made.get(id), partition, live_at, made_at):
                    tally.count(kind, id)

    def _all_missing(self) -> Difference:
        tally = Tally()
        for point in self._points():
            tally.compared += 1
            if not point.deleted:
                tally.count("missing", point.id)
        return tally.difference()

    def _points(self) -> Iterator[PointSummary]:
        page = self._made.page(None, PAGE)
        yield from page.points
        while page.following is not None:
            page = self._made.page(page.following, PAGE)
            yield from page.points


def _too_early(
    live: PointSummary | None, made: PointSummary | None, partition: int, live_at: Positions, made_at: Positions
) -> bool:
    if live is not None and passed_by_one_only(live.version, partition, live_at, made_at):
        return True
    return made is not None and passed_by_one_only(made.version, partition, made_at, live_at)
