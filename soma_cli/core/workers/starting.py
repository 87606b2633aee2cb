"""Getting to work: a worker that starts while a server is away waits for it, as one that runs does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.workers.rate import pause_s

T = TypeVar("T")


def when_servers_answer(
    make: Callable[[], T], settings: WorkerSettings, stop: threading.Event, tell: Callable[[str], None]
) -> T | None:
    """What `make` makes, tried again while it raises ServiceUnavailable; None where `stop` was set first.

    `tell` is given each failure, with the pause before the next try.
    """
    attempt = 0
    while not stop.is_set():
        try:
            return make()
        except ServiceUnavailable as fault:
            pause = pause_s(attempt, settings)
            attempt += 1
            tell(f"{fault.message}; next try in {pause:.1f} s")
            stop.wait(pause)
    return None
