"""What turns texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Texts to vectors.

    - order_is_kept: one vector a text, in the order of the texts, all of one dimension.
    - transient_or_not: ServiceUnavailable where a retry may help, ConfigurationError (key, model) or ValueRefused
      (some of these texts) where it will not; its `details["refused"]` lists every refused text as
      {"index", "message"}, so that the caller can embed the others.
    """

    @property
    def model_revision(self) -> str: ...
    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...
    def close(self) -> None: ...
