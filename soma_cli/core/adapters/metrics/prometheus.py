"""Metrics of the workers in this process for Prometheus: an `Observer` and the server that shows what it saw."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric

from soma_cli import __version__
from soma_cli.core.adapters.metrics.endpoint import Endpoint
from soma_cli.core.adapters.metrics.histogram import BatchHistogram
from soma_cli.core.adapters.metrics.liveness import Liveness
from soma_cli.core.adapters.metrics.pages import pages
from soma_cli.core.adapters.metrics.readiness import Check, Readiness
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.workers.observation import WorkerState
from soma_cli.core.workers.projection import Tally

SILENT_AFTER_S = 60.0
"""A worker that made no turn for this long hangs. Longer than the longest pause between two retries."""
CHECK_TIMEOUT_S, CHECK_KEPT_S = 2.0, 1.0
PROCESSING_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""0.5 is among them: the objective is that 95 % of events are applied within it."""

_SIZE_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_SECONDS_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_OUTCOMES = ("applied", "duplicate", "ignored", "rejected", "redelivered")
_OF_PARTITION = ("worker", "topic", "partition")


_ABOUT: dict[str, tuple[str, tuple[str, ...]]] = {
    "soma_build_info": ("1; the labels tell the versions.", ("version", "python")),
    "soma_events": ("Records passed, by what became of them.", ("worker", "outcome")),
    "soma_batch_size": ("Records of a batch.", ("worker",)),
    "soma_batch_seconds": ("Seconds from taking up a batch to its commit.", ("worker",)),
    "soma_lag_messages": ("Records between the worker and the end of the partition.", _OF_PARTITION),
    "soma_lag_oldest_seconds": ("Age of the oldest record not passed; 0 where there is none.", _OF_PARTITION),
    "soma_dead_letters": ("Records sent to the dead-letter topic.", ("worker",)),
    "soma_retries": ("Transient failures that were tried again, by the code of the error.", ("worker", "code")),
    "soma_cache_requests": ("Memories asked of the cache, and calls of it that failed.", ("result",)),
    "soma_worker_state": ("1 for the state that the worker is in.", ("worker", "state")),
    "soma_last_turn_timestamp_seconds": ("When the worker last went round, since the epoch.", ("worker",)),
    "soma_last_commit_timestamp_seconds": ("When the worker last committed a batch, since the epoch.", ("worker",)),
}
"""What it counts, and its labels. Counters get `_total` behind their name."""


class PrometheusObserver:
    """An `Observer` with a registry of its own, so that a program around soma keeps its metrics to itself."""

    def __init__(self, silent_after_s: float = SILENT_AFTER_S) -> None:
        self.liveness = Liveness(silent_after_s)
        self._begun: set[str] = set()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._gauge("soma_build_info").labels(__version__, platform.python_version()).set(1)
        self._events = self._counter("soma_events")
        self._size = self._histogram("soma_batch_size", _SIZE_BOUNDS)
        self._seconds = self._histogram("soma_batch_seconds", _SECONDS_BOUNDS)
        self._waited = BatchHistogram(
            "soma_processing_seconds",
            "Seconds from the append of an event to the commit of what it did (T_proc).",
            PROCESSING_BOUNDS_S,
        )
        self._registry.register(self._waited)
        self._lag = self._gauge("soma_lag_messages")
        self._oldest = self._gauge("soma_lag_oldest_seconds")
        self._letters = self._counter("soma_dead_letters")
        self._retries = self._counter("soma_retries")
        self._cache = self._counter("soma_cache_requests")
        self._state = self._gauge("soma_worker_state")
        self._turned = self._gauge("soma_last_turn_timestamp_seconds")
        self._committed = self._gauge("soma_last_commit_timestamp_seconds")
        self.cache(0, 0, 0)

    def turn(self, worker: str) -> None:
        self.liveness.turn(worker)
        self._turned.labels(worker).set_to_current_time()

    def state(self, worker: str, state: str, detail: str) -> None:
        self._begin(worker)
        self.liveness.turn(worker, state, detail)
        self._turned.labels(worker).set_to_current_time()
        for one in get_args(WorkerState):
            self._state.labels(worker, one).set(one == state)

    def batch(self, worker: str, tally: Tally, seconds: float, waited_s: Sequence[float]) -> None:
        self.turn(worker)
        for outcome in _OUTCOMES:
            self._events.labels(worker, outcome).inc(getattr(tally, outcome))
        self._size.labels(worker).observe(tally.read)
        self._seconds.labels(worker).observe(seconds)
        self._waited.observe(worker, waited_s)
        self._committed.labels(worker).set_to_current_time()

    def retry(self, worker: str, code: str) -> None:
        self._retries.labels(worker, code).inc()

    def dead_letters(self, worker: str, count: int) -> None:
        self._letters.labels(worker).inc(count)

    def cache(self, hits: int, misses: int, errors: int) -> None:
        for result, count in (("hit", hits), ("miss", misses), ("error", errors)):
            self._cache.labels(result).inc(count)

    def lag(
        self, worker: str, partition: int, records: int, oldest_age_s: float | None, topic: str = EVENTS_TOPIC
    ) -> None:
        self._lag.labels(worker, topic, partition).set(records)
        self._oldest.labels(worker, topic, partition).set(oldest_age_s or 0.0)

    def unassigned(self, worker: str, partition: int, topic: str = EVENTS_TOPIC) -> None:
        for gauge in (self._lag, self._oldest):
            with suppress(KeyError):
                gauge.remove(worker, topic, partition)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """The registry's metrics without the times of creation, which would be a gauge beside every counter."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    def _begin(self, worker: str) -> None:
        """Show counters from zero on: a rate sees no increase where a counter appears with its first count."""
        if worker in self._begun:
            return
        self._begun.add(worker)
        for outcome in _OUTCOMES:
            self._events.labels(worker, outcome)
        for metric in (self._size, self._seconds, self._letters):
            metric.labels(worker)
        self._retries.labels(worker, ServiceUnavailable.default_code)
        self._waited.begin(worker)

    def _counter(self, name: str) -> Counter:
        return Counter(name, *_ABOUT[name], registry=self._registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, *_ABOUT[name], registry=self._registry)

    def _histogram(self, name: str, bounds: Sequence[float]) -> Histogram:
        return Histogram(name, *_ABOUT[name], registry=self._registry, buckets=bounds)


class MetricsServer:
    """Serves `/metrics`, `/healthz` and `/readyz` from a daemon thread until closed.

    `port` 0 takes a free one; `port` and `url` tell which. Raises ConfigurationError where it cannot listen there.
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        observer: PrometheusObserver | None = None,
        checks: Mapping[str, Check] | None = None,
        *,
        check_timeout_s: float = CHECK_TIMEOUT_S,
        check_kept_s: float = CHECK_KEPT_S,
    ) -> None:
        self.observer = observer or PrometheusObserver()
        readiness = Readiness(checks or {}, check_timeout_s, check_kept_s)
        self._endpoint = Endpoint(host, port, pages(self.observer, readiness))

    @property
    def port(self) -> int:
        return self._endpoint.port

    @property
    def url(self) -> str:
        return self._endpoint.url

    def close(self) -> None:
        """Stop listening. May be called again."""
        self._endpoint.close()
