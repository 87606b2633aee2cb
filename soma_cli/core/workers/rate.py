"""How fast a worker is, and how soon it tries again."""

from __future__ import annotations

import random
import time

from soma_cli.core.settings import WorkerSettings


class Rate:
    """Records a second over the last few seconds."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: list[tuple[float, int]] = []
        self._began = time.monotonic()

    def add(self, records: int) -> None:
        now = time.monotonic()
        self._samples = [sample for sample in self._samples if sample[0] > now - self._window_s]
        self._samples.append((now, records))

    def per_s(self) -> float:
        elapsed = min(time.monotonic() - self._began, self._window_s)
        return sum(records for _, records in self._samples) / elapsed if elapsed > 0 else 0.0


def pause_s(attempt: int, settings: WorkerSettings) -> float:
    """Exponential, capped, with full jitter above half, so that workers do not come back all at once."""
    ceiling = min(settings.backoff_max_s, settings.backoff_initial_s * 2.0 ** min(attempt, 30))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
