"""The generation that searches see: opened under the lease, found anew each time the lease is taken."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path

from soma_cli.core.adapters.data_folder import folder_error
from soma_cli.core.adapters.vector_index import generations
from soma_cli.core.adapters.vector_index.edge_collection import EdgeCollection
from soma_cli.core.adapters.vector_index.engine_errors import corrupt
from soma_cli.core.adapters.vector_index.generations import Meta
from soma_cli.core.adapters.vector_index.lease import Lease
from soma_cli.core.errors import DataFolderError
from soma_cli.core.ports import IndexIdentity


class LiveGeneration:
    """`language` and `identity` shape the generation that is made where there is none."""

    def __init__(self, root: Path, language: str, identity: IndexIdentity, wait_s: float) -> None:
        self.root = root
        self.language = language
        self._identity = identity
        self._lease = Lease(root, self._open, EdgeCollection.close, wait_s=wait_s)

    def use(self) -> AbstractContextManager[EdgeCollection]:
        return self._lease.use()

    def hold(self) -> AbstractContextManager[None]:
        """Keep every process from the live generation, without opening it: it may be corrupt."""
        return self._lease.hold()

    def meta(self) -> Meta | None:
        """What the generation holds, without the lease; None before there is one. Raises DataFolderError."""
        name = self._name()
        while name is not None:
            try:
                return generations.read_meta(self.root / name)
            except FileNotFoundError as error:
                # A swap between the two reads deletes the one that was live.
                if (now := self._name()) == name:
                    raise corrupt(self.root / name / "meta.json", "it is not there") from error
                name = now
        return None

    def replace(self, folder: Path) -> None:
        """Make the generation in `folder` the live one and delete the old one; inside `hold`."""
        with suppress(DataFolderError):
            self._lease.drop()
        generations.set_live(self.root, folder.name)
        self.delete_abandoned()

    def delete_abandoned(self) -> None:
        """Inside `hold`. Nothing is deleted where `current` does not say which generation is live."""
        with suppress(DataFolderError):
            generations.delete_abandoned(self.root, self._name())

    def release(self) -> None:
        self._lease.release()

    def _open(self) -> EdgeCollection:
        meta = self.meta()
        if meta is not None:
            collection = EdgeCollection(self.root / (self._name() or ""), meta)
            collection.load()
            return collection
        folder = generations.new_generation(self.root)
        made = EdgeCollection.create(folder, self._identity, self.language)
        generations.set_live(self.root, folder.name)
        return made

    def _name(self) -> str | None:
        try:
            return generations.live_name(self.root)
        except OSError as error:
            raise folder_error(self.root, error) from error
