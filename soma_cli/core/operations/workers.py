"""Which worker a name stands for: its projection, what it reads, and where it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from soma_cli.core.errors import ConfigurationError, UsageError
from soma_cli.core.eventing.audit import audit_end
from soma_cli.core.operations import projections
from soma_cli.core.operations.connect_landing import landing_source
from soma_cli.core.operations.group_positions import GroupPositions
from soma_cli.core.operations.offsets import resolve_offset
from soma_cli.core.operations.projections import group_name
from soma_cli.core.ports import Cache, Embedder, EventLog, MemoryStore, VectorIndex
from soma_cli.core.ports.landing import Landing
from soma_cli.core.record import EVENTS_TOPIC, REQUESTS_TOPIC, RESPONSES_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.workers.audit_writer import AuditWriter
from soma_cli.core.workers.copying import CopySource
from soma_cli.core.workers.embedder import RequestEmbedder
from soma_cli.core.workers.latest_publisher import LatestPublisher
from soma_cli.core.workers.loop import Status, Worker
from soma_cli.core.workers.names import AUDIT, EMBED, KV, LANDING, LATEST, RESPONSES, VECTOR
from soma_cli.core.workers.observation import UNOBSERVED, Observer
from soma_cli.core.workers.projection import Projection
from soma_cli.core.workers.response_indexer import ResponseIndexer
from soma_cli.core.workers.source import Limits, Source
from soma_cli.core.workers.written_through import WrittenThrough

WORKERS = (KV, VECTOR, AUDIT, LATEST, EMBED, LANDING)
ALL = "all"


class Roles(Protocol):
    """The adapters that workers are made of; each is opened when it is first asked for."""

    @property
    def log(self) -> EventLog: ...
    @property
    def store(self) -> MemoryStore: ...
    @property
    def index(self) -> VectorIndex: ...
    @property
    def cache(self) -> Cache | None: ...
    @property
    def embedder(self) -> Embedder | None: ...
    def landing(self) -> Landing: ...


def worker_names(settings: Settings, log: EventLog, name: str) -> list[str]:
    """Those that run together under a name, leaders first: `all`, or one and what belongs to it."""
    through_topics = settings.embedder.via == "topics" and not log.follows_itself
    vector = [VECTOR, RESPONSES] if through_topics else [VECTOR]
    if name == VECTOR:
        return vector
    if name != ALL:
        return [name]
    if log.follows_itself:
        return [KV, VECTOR]
    return [KV, *vector, *([EMBED] if through_topics else []), AUDIT, LATEST]


def readiness_checks(roles: Roles, names: Sequence[str]) -> dict[str, Callable[[], object]]:
    """What must answer for these workers to do anything. The cache is not among it: nothing fails without it."""
    checks: dict[str, Callable[[], object]] = {"log": lambda: roles.log.bounds(EVENTS_TOPIC)}
    if {KV, VECTOR, LATEST, RESPONSES, LANDING} & set(names):
        checks["store"] = lambda: roles.store.epochs(EVENTS_TOPIC)
    if {VECTOR, RESPONSES} & set(names):
        checks["index"] = lambda: roles.index.identity()
    return checks


def make_worker(
    settings: Settings,
    roles: Roles,
    name: str,
    *,
    until_end: bool = False,
    max_events: int | None = None,
    start: str | None = None,
    max_rejects: int | None = None,
    report: Callable[[Status], None] = lambda status: None,
    observer: Observer | None = None,
) -> Worker:
    """Raises UsageError for an unknown name, ConfigurationError for a worker that these settings have no use for."""
    alive = partial((observer or UNOBSERVED).turn, name)
    projection, source = _made(settings, roles, name, max_rejects, alive)
    limits = Limits(until_end, max_events, _start_offsets(roles.log, projection, source, start))
    pace = settings.worker
    if name == KV:
        pace = replace(pace, batch_size=pace.kv_batch_size)
    return Worker(roles.log, projection, source, pace, limits, report, observer)


def _made(
    settings: Settings, roles: Roles, name: str, max_rejects: int | None, alive: Callable[[], None]
) -> tuple[Projection, Source]:
    log, group = roles.log, group_name(settings, name)
    match name:
        case "kv":
            through = _through(settings, roles)
            projection: Projection = projections.kv_writer(settings, log, roles.store, max_rejects, through)
            reading = _reading(log, group, EVENTS_TOPIC)
            return projection, reading if through is None else replace(reading, ended=through.wait)
        case "landing":
            through = _through(settings, roles)
            landing = projections.kv_writer(settings, log, roles.store, max_rejects, through)
            landing.name = LANDING
            reading = landing_source(settings, log, roles.landing)
            return landing, reading if through is None else replace(reading, ended=through.wait)
        case "vector":
            embedder = None if settings.embedder.via == "topics" else roles.embedder
            projection = projections.vector_indexer(
                settings, log, roles.store, roles.index, embedder, max_rejects=max_rejects, alive=alive
            )
            return projection, _reading(log, group, EVENTS_TOPIC)
        case "audit" | "latest" if log.follows_itself:
            raise _not_here(name, f"the embedded log keeps every event and needs no memory.{name}")
        case "embed" | "responses" if log.follows_itself:
            raise _not_here(name, "the embedded profile has no embedding.requests; `consume vector` embeds by itself")
        case "audit":
            copies = CopySource(log, group, partial(_after_audit, log))
            return AuditWriter(log, copies), Source(EVENTS_TOPIC, copies.join, copies=True)
        case "latest":
            copies = CopySource(log, group, lambda partition: log.bounds(EVENTS_TOPIC)[partition].beginning)
            projections.check_log(log, roles.store)
            follow = projections.follow_kv(settings, log, roles.store)
            return LatestPublisher(log, roles.store, copies, follow), Source(EVENTS_TOPIC, copies.join, copies=True)
        case "embed":
            return _embed(settings, roles, group, alive), _reading(log, group, REQUESTS_TOPIC)
        case "responses":
            indexer = projections.vector_indexer(settings, log, roles.store, roles.index, None)
            positions = GroupPositions(log, group, RESPONSES_TOPIC)
            topic_id = log.topic_id(EVENTS_TOPIC)
            responses = ResponseIndexer(log, roles.store, roles.index, topic_id, indexer.point, positions)
            return responses, _reading(log, group, RESPONSES_TOPIC)
    raise UsageError(f"{name!r} is not a worker", hint=f"the workers are: {', '.join(WORKERS)}")


def _through(settings: Settings, roles: Roles) -> WrittenThrough | None:
    if roles.cache is None:
        return None
    batch_size = max(settings.worker.batch_size, settings.worker.kv_batch_size)
    return WrittenThrough(roles.store, roles.cache, roles.log.topic_id(EVENTS_TOPIC), batch_size)


def _embed(settings: Settings, roles: Roles, group: str, alive: Callable[[], None]) -> RequestEmbedder:
    if roles.embedder is None:
        raise ConfigurationError(
            "no embedder is configured to serve embedding.requests with",
            hint="set embedder.kind, embedder.url and embedder.model",
            code="missing_setting",
        )
    return RequestEmbedder(roles.log, roles.embedder, GroupPositions(roles.log, group, REQUESTS_TOPIC), alive)


def _reading(log: EventLog, group: str, topic: str) -> Source:
    return Source(topic, lambda start, revoked: log.consumer(group, topic, start, revoked))


def _after_audit(log: EventLog, partition: int) -> int:
    """Behind the last position that `memory.audit` holds: a group that lost its offsets copies nothing twice."""
    return audit_end(log, partition, log.topic_id(EVENTS_TOPIC))


def _not_here(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no {name} worker here: {why}", hint="run `soma consume all`", code="not_in_profile"
    )


def _start_offsets(log: EventLog, projection: Projection, source: Source, start: str | None) -> dict[int, int] | None:
    """Offsets at or before the stored positions: a worker may read again, never leave anything out."""
    if start is None:
        return None
    if source.copies:
        raise UsageError(
            f"{projection.name} publishes each record once and cannot begin again elsewhere", hint="leave --from out"
        )
    stored, offsets = projection.positions(), {}
    for partition, bounds in log.bounds(source.topic).items():
        passed = stored.get(partition, 0)
        offsets[partition] = resolve_offset(start, bounds, passed)
        if offsets[partition] > passed:
            raise UsageError(
                f"--from {start} is offset {offsets[partition]}, behind the stored position {passed}: events would be "
                "left out",
                hint="leave --from out, or name an offset up to the stored position",
            )
    return offsets
