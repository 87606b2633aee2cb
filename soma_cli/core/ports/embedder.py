"""What turns texts into vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Embedder(Protocol):
    """Texts to vectors.

    - order_is_kept: one vector a text, in the order of the texts, all of one dimension.
    - transient_or_not: ServiceUnavailable where a retry may help, ConfigurationError (key, model) or ValueRefused
      (some of these texts) where it will not; its `details["refused"]` lists every refused text as
      {"index", "message"}, so that the caller can embed the others.
    - progress_is_told: many texts take several requests; `answered` is called after each that was answered.
    """

    @property
    def model_revision(self) -> str: ...
    def embed(self, texts: Sequence[str], answered: Callable[[], None] = ...) -> list[list[float]]: ...
    def close(self) -> None: ...
