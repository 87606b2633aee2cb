"""One process at a time holds a resource, hands it over when another waits, and lets go of it when idle.

Two locked files: `hold.lock` is the resource, `turn.lock` the queue for it. To take: lock turn, lock hold, unlock
turn. Whoever queues keeps turn locked until the holder lets go, so a holder sees a waiter as a turn that it cannot
lock. The operating system unlocks the files of a process that dies, kill -9 included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout

from soma_cli.core.adapters.data_folder import folder_error
from soma_cli.core.errors import ServiceUnavailable, SomaError

R = TypeVar("R")

POLL_S = 0.003
"""How often a waiter tries; a holder looks for waiters no more often than this either."""
WATCH_S = 0.02
"""How often a holder that is between operations looks for waiters."""
TENURE_S = 0.03
"""A holder keeps what it opened this long even if others wait: changing hands costs more than most operations."""


class Lease(Generic[R]):
    """`open` makes the resource once the lock is held, `close` ends it before the lock is let go.

    Threads of one process share one open resource, one at a time. `use` may be nested within a thread. Waiting longer
    than `wait_s` seconds raises ServiceUnavailable (`index_busy`); a resource unused for `idle_s` seconds is let go.
    """

    def __init__(
        self,
        folder: Path,
        open: Callable[[], R],
        close: Callable[[R], None],
        *,
        wait_s: float = 30.0,
        idle_s: float = 1.0,
    ) -> None:
        self._folder = folder
        self._open = open
        self._close = close
        self._wait_s = wait_s
        self._idle_s = idle_s
        self._turn = FileLock(folder / "turn.lock", thread_local=False)
        self._hold = FileLock(folder / "hold.lock", thread_local=False)
        self._mutex = threading.RLock()
        self._depth = 0
        self._held = False
        self._resource: R | None = None
        self._taken_at = self._opened_at = self._used_at = self._looked_at = 0.0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """The lock alone, the resource not opened. Raises ServiceUnavailable, ConfigurationError."""
        deadline = time.monotonic() + self._wait_s
        if not self._mutex.acquire(timeout=self._wait_s):
            raise self._busy()
        self._depth += 1
        try:
            if not self._held:
                self._take(deadline)
            yield
        finally:
            self._depth -= 1
            try:
                if not self._depth and self._held:
                    self._used_at = time.monotonic()
                    self._hand_over()
            finally:
                self._mutex.release()

    @contextmanager
    def use(self) -> Iterator[R]:
        """The open resource, this thread's alone inside the block. Raises what `hold` and `open` raise."""
        with self.hold():
            if self._resource is None:
                self._resource = self._open()
                self._opened_at = time.monotonic()
            yield self._resource

    def drop(self) -> None:
        """Close the resource but keep the lock; for use inside `hold`."""
        resource, self._resource = self._resource, None
        if resource is not None:
            self._close(resource)

    def release(self) -> None:
        """Close the resource and let go of the lock now; the next use takes it again. Waits for a use in progress."""
        with self._mutex:
            if self._depth:
                raise RuntimeError("a lease cannot be released from inside its own use")
            if self._held:
                self._let_go()

    def _take(self, deadline: float) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._turn.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=POLL_S)
            try:
                self._hold.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=POLL_S)
            finally:
                self._turn.release()
        except Timeout as error:
            raise self._busy() from error
        except OSError as error:
            raise folder_error(self._folder, error) from error
        self._held = True
        self._taken_at = self._used_at = time.monotonic()
        watcher = threading.Thread(target=self._watch, args=(self._taken_at,), name="soma-index-lease", daemon=True)
        watcher.start()

    def _hand_over(self) -> None:
        now = time.monotonic()
        if now - self._opened_at < TENURE_S or now - self._looked_at < POLL_S:
            return
        self._looked_at = now
        if self._someone_waits():
            self._let_go()

    def _someone_waits(self) -> bool:
        try:
            self._turn.acquire(blocking=False)
        except (Timeout, OSError):
            return True
        self._turn.release()
        return False

    def _let_go(self) -> None:
        try:
            self.drop()
        finally:
            self._held = False
            self._hold.release()

    def _watch(self, tenure: float) -> None:
        """Runs for one tenure (named by its begin), so that a process that sits idle never keeps others waiting."""
        while True:
            time.sleep(WATCH_S)
            if self._mutex.acquire(blocking=False):
                try:
                    if not self._held or self._taken_at != tenure:
                        return
                    self._rest()
                finally:
                    self._mutex.release()

    def _rest(self) -> None:
        # What goes wrong in closing has nobody here to hear of it; opening again will tell.
        with suppress(SomaError):
            if time.monotonic() - self._used_at > self._idle_s:
                self._let_go()
            else:
                self._hand_over()

    def _busy(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"the search index {self._folder} was in use by another process for {self._wait_s:g} s",
            hint="try again; `soma lag` shows what the index worker is doing",
            code="index_busy",
        )
