"""The search index on a Qdrant server.

The settings' collection is an alias. Behind it stands one collection per embedding model and revision, which also
holds what it is and how far it has come (qdrant_reserved.py), so that a rebuild swaps all of it by switching the alias.

No claim rests on the client's in-memory engine alone, which runs the contract tests where no server is given: that
engine takes the same calls, but knows no payload indexes, no approximate search (the server builds a graph from some
10,000 dense vectors a segment on), no status and no writes that are taken and applied later. The conditions of upserts
are tried on qdrant-edge besides, which is the server's own code. The client's on-disk mode is never used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from qdrant_client import QdrantClient

from soma_cli.core.adapters.vector_index.qdrant_catalogue import QdrantCatalogue
from soma_cli.core.adapters.vector_index.qdrant_collection import FIELDS, QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_errors import MISSING, replaced
from soma_cli.core.adapters.vector_index.qdrant_health import differing, findings
from soma_cli.core.adapters.vector_index.qdrant_reserved import About
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer
from soma_cli.core.adapters.vector_index.qdrant_shadow import QdrantShadow
from soma_cli.core.errors import ConfigurationError, ValueRefused
from soma_cli.core.ports import Hit, IndexIdentity, IndexPoint, IndexQuery, PointSummary, Provisioned
from soma_cli.core.results import Finding
from soma_cli.core.settings import IndexSettings

T = TypeVar("T")


class QdrantIndex:
    """`VectorIndex` on a Qdrant server of version 1.18 or newer, for any number of machines, processes and threads.

    `settings.language` and `identity` shape the collection when it is made, by `provision` or by a rebuild; one that is
    there keeps its own, so that its texts and the searches for them are always taken apart alike. Without a collection
    every method but `provision` and `shadow` raises ConfigurationError (`index_missing`).

    `write` goes to the collection whose positions the same thread read last, also when a rebuild has replaced it since:
    whoever checks his batch against the positions of one collection never writes it to another. Once that one is
    deleted, `write` raises ServiceUnavailable (`index_replaced`).
    """

    def __init__(
        self, settings: IndexSettings, *, identity: IndexIdentity | None = None, client: QdrantClient | None = None
    ) -> None:
        """`client`: an in-memory one, for tests; else one is made at first use."""
        self._settings = settings
        self._identity = identity or IndexIdentity(None, None)
        self._server = QdrantServer(settings, client)
        self._catalogue = QdrantCatalogue(self._server, settings.collection)
        self._thread = threading.local()

    def provision(self) -> Provisioned:
        """Make collection, payload indexes and alias where they are missing. Two that do it at once end with one
        live collection; at worst the other takes up space until the next rebuild deletes it."""
        if (name := self._catalogue.live()) is None:
            return self._first_collection()
        live = QdrantCollection(self._server, name)
        if live.about().collection != name:
            live.take_name()
        lacking = [field for field in FIELDS if field not in live.info().payload_schema]
        live.create_fields(lacking)
        created = [f"payload index {field} of {name}" for field in lacking]
        return Provisioned(created, [name], differing(live.about(), self._identity, self._settings.language))

    def identity(self) -> IndexIdentity:
        return self._live()[1].identity

    def adopt(self, identity: IndexIdentity) -> None:
        self._again(lambda live, about: live.adopt(identity))

    def positions(self, topic_id: str) -> dict[int, int]:
        about, positions = self._alias().positions()
        self._thread.collection = about.collection
        return positions.get(topic_id, {})

    def write(self, points: Sequence[IndexPoint], topic_id: str, positions: Mapping[int, int]) -> None:
        """The first embedding settles the dimension where `adopt` has not."""
        name = getattr(self._thread, "collection", None) or self._live()[0].name
        try:
            QdrantCollection(self._server, name).write(points, topic_id, positions)
        except (ConfigurationError, ValueRefused) as error:
            # What a collection of another model refuses may be just right for the one that has replaced it.
            if (isinstance(error, ValueRefused) or error.code == MISSING) and self._live()[0].name != name:
                self._thread.collection = None
                raise replaced(name) from error
            raise

    def search(self, query: IndexQuery) -> list[Hit]:
        """Nothing but stop words finds nothing. Raises ValueRefused for an embedding of another dimension."""
        return self._again(lambda live, about: live.search(query, about))

    def versions(self, ids: Collection[str]) -> dict[str, int]:
        """Of the points that are there, tombstones too."""
        wanted = list(ids)
        return self._again(lambda live, about: live.versions(wanted))

    def scan(self) -> Iterator[PointSummary]:
        """All points, tombstones too, in order of id. What others write meanwhile may or may not be among them; a
        rebuild that replaces the collection meanwhile raises ServiceUnavailable (`index_replaced`)."""
        live, about = self._live()
        try:
            for page in live.pages(about):
                yield from page
        except ConfigurationError as error:
            if error.code != MISSING:
                raise
            raise replaced(live.name) from error

    def count(self) -> int:
        return self._again(lambda live, about: live.counts())[0]

    def stats(self) -> dict[str, Any]:
        """where (address), alias, collection, points, tombstones, segments, status, model_revision, dimension,
        language."""
        return self._again(self._stats)

    def health(self, *, deep: bool = False) -> list[Finding]:
        """`deep` reads every point."""
        read = sum(1 for _ in self.scan()) if deep else None
        return self._again(
            lambda live, about: (
                findings(live, about, self._server, self._stats(live, about), read, self._catalogue)
                + differing(about, self._identity, self._settings.language)
            )
        )

    def shadow(self, identity: IndexIdentity) -> QdrantShadow:
        """A new collection without alias; works also where there is no live one."""
        return QdrantShadow.begin(self._server, self._catalogue, identity, self._settings.language)

    def release(self) -> None:
        """Nothing is held that others could wait for."""

    def close(self) -> None:
        self._server.close()

    def _alias(self) -> QdrantCollection:
        return QdrantCollection(self._server, self._settings.collection)

    def _live(self) -> tuple[QdrantCollection, About]:
        about = self._alias().about()
        return QdrantCollection(self._server, about.collection), about

    def _again(self, use: Callable[[QdrantCollection, About], T]) -> T:
        """Use the live collection by its own name; once more where a rebuild replaces it meanwhile."""
        live, about = self._live()
        try:
            return use(live, about)
        except ConfigurationError as error:
            if error.code != MISSING:
                raise
            now, about = self._live()
            if now.name == live.name:
                raise
        return use(now, about)

    def _first_collection(self) -> Provisioned:
        if self._catalogue.is_collection():
            raise ConfigurationError(
                f"{self._settings.collection} at {self._server.where} is a collection, and soma's would be an alias",
                hint="set index.collection to another name",
                code="index_name_taken",
            )
        name = self._catalogue.new_name(self._identity.model_revision)
        alias, language = self._catalogue.alias, self._settings.language
        made = QdrantCollection.create(self._server, name, alias, self._identity, language)
        if (live := self._catalogue.live()) is not None:  # Another process was quicker.
            made.delete()
            return Provisioned([], [live], [])
        self._catalogue.switch(name)
        return Provisioned([name, f"alias {alias}"], [], [])

    def _stats(self, live: QdrantCollection, about: About) -> dict[str, Any]:
        points, tombstones = live.counts()
        info = live.info()
        return {
            "where": self._server.where,
            "alias": self._catalogue.alias,
            "collection": live.name,
            "points": points,
            "tombstones": tombstones,
            "segments": info.segments_count,
            "status": str(info.status.value),
            "model_revision": about.identity.model_revision,
            "dimension": about.identity.dimension,
            "language": about.language,
        }
