"""Staying in the group while a batch is worked on, however long that takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from soma_cli.core.ports import Consumer

logger = logging.getLogger("soma")

KEEP_EVERY_S = 1.0


class KeptAlive:
    """Tells the group every second that this member is alive, from a thread of its own, but while it polls itself.

    Embedding a batch or waiting for a database that is away may take hours; a group takes the partitions from a member
    that has not polled for minutes.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._guard = threading.RLock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeps the group", daemon=True)
        self._thread.start()

    @contextmanager
    def polling(self) -> Iterator[None]:
        """While the worker itself uses the consumer."""
        with self._guard:
            yield

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closed.wait(KEEP_EVERY_S):
            if not self._guard.acquire(blocking=False):
                continue  # it polls right now
            try:
                self._consumer.keep()
            except Exception:  # the worker's own next poll meets it too, and knows what to do; this goes on
                logger.debug("the group was not kept", exc_info=True)
            finally:
                self._guard.release()
