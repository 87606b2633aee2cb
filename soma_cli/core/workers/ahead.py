"""The batch after the one in hand, polled while that one is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from soma_cli.core.errors import SomaError
from soma_cli.core.ports import Run


class Ahead:
    """Runs that were polled before their turn, and what went wrong with that, which is raised when it comes."""

    def __init__(self) -> None:
        self._runs: list[Run] | None = None
        self._failure: SomaError | None = None

    def fill(self, poll: Callable[[], list[Run]]) -> Sequence[Run]:
        """What was polled; nothing where there is a batch already."""
        if self._runs is not None or self._failure is not None:
            return ()
        try:
            self._runs = poll()
        except SomaError as failure:
            self._failure = failure
        return self._runs or ()

    def take(self) -> list[Run]:
        """Raises what polling them raised."""
        runs, failure = self._runs, self._failure
        self._runs = self._failure = None
        if failure is not None:
            raise failure
        return runs or []
