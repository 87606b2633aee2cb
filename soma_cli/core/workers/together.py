"""Several workers in one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

from soma_cli.core.workers.loop import Worker

_JOIN_S = 0.1


def run_together(workers: Sequence[Worker], *, in_step: bool = True) -> None:
    """Run several workers in threads, `in_step` each following the one before it; the first failure stops all of them.

    Raises that failure.
    """
    failures: list[BaseException] = []
    for leader, follower in pairwise(workers if in_step else ()):
        follower.follow(leader)

    def guarded(worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failures.append(error)
            for other in workers:
                other.stop.set()

    threads = [threading.Thread(target=guarded, args=(worker,), name=worker.status.worker) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        # Not one long wait: a signal that another thread gets does not end it, and only the main thread handles it.
        while thread.is_alive():
            thread.join(_JOIN_S)
    if failures:
        raise failures[0]
