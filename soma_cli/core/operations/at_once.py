"""Looking at several servers at the same time, so that those that are away hold up nobody but themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from soma_cli.core.errors import ServiceUnavailable

T = TypeVar("T")


class AtOnce(Generic[T]):
    """Each look in a thread of its own, from now on; call this with its name for what it returned or raised.

    One that takes longer than `within_s` raises ServiceUnavailable; its thread is left alone, to end with the process.
    """

    def __init__(self, looks: Mapping[str, Callable[[], T]], within_s: float) -> None:
        self._within_s = within_s
        self._deadline = time.monotonic() + within_s
        self._found: dict[str, T] = {}
        self._raised: dict[str, Exception] = {}
        self._threads = {
            name: threading.Thread(target=self._look, args=(name, look), name=f"soma-looks-{name}", daemon=True)
            for name, look in looks.items()
        }
        for thread in self._threads.values():
            thread.start()

    def __contains__(self, name: str) -> bool:
        return name in self._threads

    def __call__(self, name: str) -> T:
        self._threads[name].join(max(self._deadline - time.monotonic(), 0))
        if name in self._raised:
            raise self._raised[name]
        if name not in self._found:
            raise ServiceUnavailable(
                f"{name}: no answer within {self._within_s:g} s", hint="is the server running, and can it be reached?"
            )
        return self._found[name]

    def _look(self, name: str, look: Callable[[], T]) -> None:
        try:
            self._found[name] = look()
        except Exception as error:  # noqa: BLE001 - it is raised where the look is asked for
            self._raised[name] = error
