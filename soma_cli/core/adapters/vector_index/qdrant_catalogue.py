"""Which collections on the server belong to an alias, which of them is live, and which a dead rebuild left behind."""

from __future__ import annotations

import re
import secrets

from qdrant_client import models

from soma_cli.core.adapters.vector_index.qdrant_collection import QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_errors import MISSING
from soma_cli.core.adapters.vector_index.qdrant_reserved import now_s
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer
from soma_cli.core.errors import ConfigurationError

BEAT_S = 20.0
"""How often a rebuild says that it is alive."""
DEAD_S = 120.0
"""A rebuild that was silent for so long is dead."""


class QdrantCatalogue:
    """The collections `<alias>-<model revision or lexical>-<random>`, each of which knows in its metadata what alias
    it was made for."""

    def __init__(self, server: QdrantServer, alias: str) -> None:
        self.alias = alias
        self._server = server

    def new_name(self, model_revision: str | None) -> str:
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", model_revision or "lexical").strip("-")[:80]
        return f"{self.alias}-{slug}-{secrets.token_hex(4)}"

    def live(self) -> str | None:
        """The collection behind the alias."""
        return self._aliases().get(self.alias)

    def is_collection(self) -> bool:
        """Whether a collection itself has the alias's name."""
        return self.alias in self._collections()

    def switch(self, name: str) -> None:
        """Let the alias lead to this collection, in one step, wherever it led before."""
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.alias))
        make = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=self.alias))
        with self._server.client() as client:
            client.update_collection_aliases([drop, make])

    def abandoned(self) -> list[str]:
        """Collections that were made for the alias, that no alias leads to and that no living rebuild fills."""
        kept = set(self._aliases().values())
        candidates = (name for name in self._collections() if name.startswith(f"{self.alias}-") and name not in kept)
        return sorted(name for name in candidates if self._is_abandoned(name))

    def delete_abandoned(self) -> None:
        for name in self.abandoned():
            QdrantCollection(self._server, name).delete()

    def _is_abandoned(self, name: str) -> bool:
        collection = QdrantCollection(self._server, name)
        try:
            metadata = collection.info().config.metadata or {}
            if metadata.get("soma_alias") != self.alias:
                return False
            made_at = float(metadata.get("soma_made_at") or 0.0)
            return now_s() - max(made_at, _alive_at(collection)) > DEAD_S
        except ConfigurationError as error:
            if error.code != MISSING:  # Otherwise another rebuild has just deleted it.
                raise
            return False

    def _aliases(self) -> dict[str, str]:
        with self._server.client() as client:
            return {each.alias_name: each.collection_name for each in client.get_aliases().aliases}

    def _collections(self) -> list[str]:
        with self._server.client() as client:
            return [each.name for each in client.get_collections().collections]


def _alive_at(collection: QdrantCollection) -> float:
    try:
        return collection.about().alive_at
    except ConfigurationError as error:
        if error.code == MISSING:
            raise
        return 0.0  # Killed before it could say what it was to be.
