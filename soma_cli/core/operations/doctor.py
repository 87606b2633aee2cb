"""Looking at everything that can be wrong. Makes nothing, applies nothing, and goes on where something is broken."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from soma_cli import __version__
from soma_cli.core.errors import SomaError
from soma_cli.core.event import decode_event
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.eventing.producer import Draft, build_event
from soma_cli.core.instants import MICROSECONDS, format_instant
from soma_cli.core.operations import schema_setup
from soma_cli.core.operations.at_once import AtOnce
from soma_cli.core.operations.lag import OUT_OF_RANGE, UNSERVED, committed_offsets, group_lag
from soma_cli.core.operations.projections import COPIES, group_name
from soma_cli.core.ports import Cache, Embedder, EventLog, IndexIdentity, MemoryStore, SchemaRegistry, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.results import RUN_INIT, DoctorReport, Finding, GroupLag
from soma_cli.core.settings import Settings
from soma_cli.core.workers.names import AUDIT, KV, LANDING, VECTOR

BACKLOG = 10_000
"""So many events that nobody works on are a warning: the next read will take a while."""
STUCK_S = 60.0
"""An event that has waited longer than this although a worker runs is a warning."""
CLOCK_TOLERANCE_S = 1.0
_LIBRARIES = ("jsonschema-rs", "orjson", "qdrant-edge-py")
_LIBRARIES_OF = {"kafka": "confluent-kafka", "postgres": "psycopg", "qdrant": "qdrant-client", "redis": "redis"}
_REBUILD = "`soma replay --into vector --execute` rebuilds the index"

SERVERS_WITHIN_S = 8.0
"""All servers are looked at together, for so long."""
_SERVERS = {"kafka": "Kafka", "postgres": "PostgreSQL", "qdrant": "Qdrant"}
_NEEDED_BY = {
    "model": ("index",),
    "points": ("log", "store", "index"),
    "clock": ("log",),
    "dead letters": ("log",),
    "identity": ("log", "store"),
    KV: ("log", "store"),
    VECTOR: ("log", "store", "index"),
}
_NEEDS = {"store": {"store", "access"}}
_MADE_BY = {"log": "the first `soma store`", "store": "the next read", "index": "the first search"}
_DAMAGED = {
    "log": "restore the log from a backup: everything else can be rebuilt from it",
    "store": "restore it from a backup; or move it, its -wal and its -shm away: the next read makes it from the log",
}

T = TypeVar("T")


class Part(Protocol):
    def health(self, *, deep: bool = False) -> list[Finding]: ...


P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to look at. `missing` parts were not made yet and are not opened; `identity` is the settings'."""

    missing: Collection[str]
    folder: Callable[[], list[Finding]] | None
    log: Callable[[], EventLog]
    store: Callable[[], MemoryStore]
    index: Callable[[], VectorIndex]
    cache: Callable[[], Cache | None]
    embedder: Callable[[], Embedder | None]
    registry: Callable[[], SchemaRegistry]
    identity: IndexIdentity


def diagnose(settings: Settings, parts: Parts, *, now: int, deep: bool = False) -> DoctorReport:
    """Every check with its finding; healthy if all are `ok`. `now` is in microseconds; `deep` reads all data."""
    seen, began = _Findings(), time.monotonic()
    servers = AtOnce(_server_looks(settings, parts, deep), SERVERS_WITHIN_S)
    usable = parts.folder is None or any(
        finding.status == "ok" for finding in (seen.extend("folder", parts.folder) or [])[:1]
    )
    log = _opened(seen, parts, "log", parts.log, deep, servers) if usable else None
    store = _opened(seen, parts, "store", parts.store, deep, servers) if usable else None
    can_be_seen = log is not None or "index" in servers
    made = seen.attempt("index", parts.index) if can_be_seen else None
    held = None if made is None else _opened(seen, parts, "index", lambda: made, deep, servers)
    log = None if _is_away(seen, "log", settings.log.kind) else log
    store = None if _is_away(seen, "store", settings.store.kind) else store
    index = None if _is_away(seen, "index", settings.index.kind) else made
    seen.skip(settings)
    if index is not None and held is not None:
        seen.extend("model", lambda: _model(settings, parts.identity, index))
        if log is not None and store is not None:
            seen.extend("points", lambda: _points(log, store, index))
    if log is not None:
        # Servers that are away take their time, and others append meanwhile.
        looked = round((time.monotonic() - began) * MICROSECONDS)
        seen.extend("clock", lambda: [_clock(log, now + looked)])
        seen.extend("dead letters", lambda: [_dead_letters(log)])
    if log is not None and store is not None:
        _projections(seen, settings, log, store, index, now)
    seen.extend("cache", lambda: servers("cache"))
    seen.extend("embedder", lambda: servers("embedder"))
    seen.extend("schema", lambda: [_schema(settings)])
    if settings.registry.kind == "confluent_http":
        seen.extend("registry", lambda: servers("registry"))
    seen.extend("libraries", lambda: [_libraries(settings)])
    return report(_one_for_what_was_never_made(seen.findings))


def _server_looks(settings: Settings, parts: Parts, deep: bool) -> dict[str, Callable[[], list[Finding]]]:
    looks: dict[str, Callable[[], list[Finding]]] = {
        "cache": lambda: [] if (cache := parts.cache()) is None else cache.health(),
        "embedder": lambda: _embedder(parts.embedder()),
    }
    if settings.registry.kind == "confluent_http":
        looks["registry"] = lambda: schema_setup.findings(parts.registry(), settings)
    if settings.log.kind == "kafka":
        looks["log"] = lambda: parts.log().health(deep=deep)
    if settings.store.kind == "postgres":
        looks["store"] = lambda: parts.store().health(deep=deep)
    if settings.index.kind == "qdrant":
        looks["index"] = lambda: parts.index().health(deep=deep)
    return looks


def _one_for_what_was_never_made(findings: list[Finding]) -> list[Finding]:
    """Before `soma init` everything is missing, and everything that looks at it fails: that is one finding."""
    unmade = [finding for finding in findings if finding.hint == RUN_INIT]
    if not any(finding.check == "topics" for finding in unmade):
        return findings
    left = [finding for finding in findings if finding.hint != RUN_INIT and RUN_INIT not in finding.message]
    return [*left, Finding("init", "error", "; ".join(finding.message for finding in unmade), RUN_INIT)]


def report(findings: list[Finding]) -> DoctorReport:
    return DoctorReport(all(finding.status == "ok" for finding in findings), findings)


class _Findings:
    """What was found so far. A check that fails is itself a finding, and the others go on."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.away: set[str] = set()

    def skip(self, settings: Settings) -> None:
        """Tell which checks are left out because a server is away."""
        kinds = {"log": settings.log.kind, "store": settings.store.kind, "index": settings.index.kind}
        away = [part for part, kind in kinds.items() if part in self.away and kind in _SERVERS]
        copies = COPIES if settings.log.kind == "kafka" else ()
        for check, needs in (*_NEEDED_BY.items(), *((name, ("log", "store")) for name in copies)):
            if missing := [f"the {part} ({_SERVERS[kinds[part]]})" for part in needs if part in away]:
                verb = "is" if len(missing) == 1 else "are"
                message = f"not checked: {' and '.join(missing)} {verb} away"
                self.findings.append(Finding(check, "warning", message))

    def extend(self, check: str, look: Callable[[], list[Finding]]) -> list[Finding] | None:
        found = self.attempt(check, look)
        self.findings += found or []
        return found

    def attempt(self, check: str, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except SomaError as error:
            hint = _DAMAGED.get(check, error.hint) if error.code == "data_folder_corrupt" else error.hint
            self.findings.append(Finding(check, "error", error.message, hint))
        except Exception as error:  # noqa: BLE001 - damaged data can fail anywhere, and the other checks still count
            self.findings.append(Finding(check, "error", f"{type(error).__name__}: {error}", "report it"))
        return None


def _opened(
    seen: _Findings, parts: Parts, check: str, open: Callable[[], P], deep: bool, servers: AtOnce[list[Finding]]
) -> P | None:
    """The part, looked at; None where it was not made yet, or can't be opened or read."""
    if "folder" in parts.missing and check in parts.missing:
        return None
    if check == "log" and check in parts.missing and "store" not in parts.missing:
        hint = "restore it from a backup; or, if it was removed on purpose, run `soma init --new-epoch`"
        seen.findings.append(Finding(check, "error", "the log is missing, but there is a store made from one", hint))
        return None
    if _NEEDS.get(check, {check}) & set(parts.missing):
        seen.findings.append(Finding(check, "ok", f"not made yet; {_MADE_BY[check]} makes it"))
        return None
    part = seen.attempt(check, open)
    found = (
        None
        if part is None
        else seen.extend(check, lambda: servers(check) if check in servers else part.health(deep=deep))
    )
    if found is None or [finding.status for finding in found] == ["error"]:
        seen.away.add(check)
    return None if found is None else part


def _is_away(seen: _Findings, check: str, kind: str) -> bool:
    """Whether a server could not be asked: checks that need it would only say so again, each after a while."""
    return kind in _SERVERS and check in seen.away


def _projections(
    seen: _Findings, settings: Settings, log: EventLog, store: MemoryStore, index: VectorIndex | None, now: int
) -> None:
    identity = seen.extend("identity", lambda: [_identity(log, store)])
    if not identity or identity[0].status != "ok":
        return
    topic_id = log.topic_id(EVENTS_TOPIC)
    stored: dict[str, Callable[[], dict[int, int]]] = {KV: lambda: store.positions(topic_id)}
    if index is not None:
        stored[VECTOR] = lambda: index.positions(topic_id)
    if not log.follows_itself:
        stored |= {name: partial(committed_offsets, log, group_name(settings, name)) for name in COPIES}
    for name, positions in stored.items():
        landing_runs = store.landing_runs if name == KV else lambda: False
        seen.extend(name, partial(_projection, log, group_name(settings, name), positions, landing_runs, name, now))


def _projection(
    log: EventLog,
    group: str,
    positions: Callable[[], dict[int, int]],
    landing_runs: Callable[[], bool],
    name: str,
    now: int,
) -> list[Finding]:
    landing = landing_runs()
    found = group_lag(log, group, positions(), now, landing_runs=landing)
    if log.follows_itself or found.state == OUT_OF_RANGE:
        return [_lag(found, name)]
    return [_worked_lag(found, name, LANDING if landing else name)]


def _worked_lag(group: GroupLag, name: str, worker: str) -> Finding:
    """Where workers alone move a projection on; `worker` is the one at work. What the audit does not have, compaction
    may take for good."""
    if group.state == UNSERVED:
        which = ", ".join(map(str, group.unserved))
        return Finding(
            name,
            "warning",
            f"workers of {group.group} run, but none has partition {which} of {EVENTS_TOPIC}",
            f"start `soma consume {name}`, and end what else is in its group (kafka-consumer-groups.sh --describe "
            f"--members --group {group.group} says who is)",
        )
    if not group.lag and group.state == "active":
        return Finding(name, "ok", "has passed the whole log; a worker runs")
    if not group.lag:
        return Finding(name, "ok", "has passed the whole log; no worker runs")
    waits = _waiting(group)
    stuck = (group.oldest_age_s or 0) > STUCK_S
    urgent = "error" if name == AUDIT and stuck else "warning"
    if group.state == "active":
        hint = f"see what `soma consume {worker}` says, and `soma lag --watch`" if stuck else ""
        return Finding(name, urgent if stuck else "ok", f"{waits}; a worker is at it", hint)
    return Finding(name, urgent, f"{waits}; no worker runs", f"start `soma consume {name}`")


def _waiting(group: GroupLag) -> str:
    events = "1 event waits" if group.lag == 1 else f"{group.lag:,} events wait"
    return f"{events}, the oldest for {group.oldest_age_s or 0:,.0f} s"


def _identity(log: EventLog, store: MemoryStore) -> Finding:
    topic_id, epochs = log.topic_id(EVENTS_TOPIC), store.epochs(EVENTS_TOPIC)
    if topic_id in epochs:
        return Finding("identity", "ok", f"the store was made from this log (epoch {epochs[topic_id]})")
    if not epochs:
        return Finding("identity", "ok", "the store has not read the log yet")
    return Finding(
        "identity",
        "error",
        f"the store was not made from this log (topic id {topic_id})",
        "put the right log back; or, if the log was replaced on purpose, run `soma init --new-epoch`",
    )


def _lag(group: GroupLag, name: str) -> Finding:
    reader = "read" if name == KV else "search"
    if group.state == OUT_OF_RANGE:
        worst = max(group.partitions, key=lambda row: row.committed - row.end)
        passed = f"{name} has passed {worst.committed}, but the log ends at {worst.end}"
        message = f"{passed}: it lost events, and new ones are left out"
        return Finding(name, "error", message, "restore the newest backup of the log, or the whole folder from one")
    if not group.lag:
        return Finding(name, "ok", "has passed the whole log")
    waits = _waiting(group)
    if group.state == "active":
        stuck = (group.oldest_age_s or 0) > STUCK_S
        hint = f"see what `soma consume {name}` says, and `soma lag --watch`" if stuck else ""
        return Finding(name, "warning" if stuck else "ok", f"{waits}; a worker is at it", hint)
    if group.lag > BACKLOG:
        message = f"{waits}; no worker runs, so the next {reader} will take a while"
        return Finding(name, "warning", message, f"run `soma consume {name} --until-end`, or leave it running")
    return Finding(name, "ok", f"{waits}; the next {reader} applies them")


def _dead_letters(log: EventLog) -> Finding:
    letters = read_letters(log)
    if not letters:
        return Finding("dead letters", "ok", "none")
    message = f"{len(letters):,} open, the newest for {letters[-1].source.position}: {letters[-1].message}"
    return Finding("dead letters", "warning", message, "see `soma dlq list`, then retry or discard them")


def _clock(log: EventLog, now: int) -> Finding:
    newest = max((record.appended_at for record in _last_records(log)), default=now)
    if newest > now + CLOCK_TOLERANCE_S * MICROSECONDS:
        message = f"the newest event was appended at {format_instant(newest)}, which is in the future"
        return Finding(
            "clock", "warning", message, "set this machine's clock; until then, new events get that time too"
        )
    return Finding("clock", "ok", "no event was appended in the future")


def _last_records(log: EventLog) -> Iterator[Record]:
    for partition, bounds in log.bounds(EVENTS_TOPIC).items():
        yield from log.scan(EVENTS_TOPIC, partition, max(bounds.beginning, bounds.end - 1), bounds.end)


def _model(settings: Settings, wanted: IndexIdentity, index: VectorIndex) -> list[Finding]:
    held, language = index.identity(), index.stats().get("language")
    differing = [
        f"{name} {there!r} instead of {here!r}"
        for name, here, there in (
            ("model revision", wanted.model_revision, held.model_revision),
            ("dimension", wanted.dimension, held.dimension),
            ("language", settings.index.language, language),
        )
        if here is not None and there is not None and here != there
    ]
    if differing:
        return [
            Finding("model", "warning", f"the index was made with {', '.join(differing)} of the settings", _REBUILD)
        ]
    if not held.dimension:
        return []
    model = held.model_revision or "no named model"
    return [Finding("model", "ok", f"vectors of {model} ({held.dimension} dimensions)")]


def _points(log: EventLog, store: MemoryStore, index: VectorIndex) -> list[Finding]:
    """Compared only where both stand at the same position before and after: else a worker is at it."""
    topic_id = log.topic_id(EVENTS_TOPIC)
    before = store.positions(topic_id), index.positions(topic_id)
    memories, points = store.stats()["memories"], index.count()
    if before[0] != before[1] or before != (store.positions(topic_id), index.positions(topic_id)):
        return []
    if memories != points:
        message = f"the index has {points:,} points for {memories:,} memories, at the same position"
        return [Finding("points", "error", message, _REBUILD)]
    return [Finding("points", "ok", f"as many as memories: {memories:,}")]


def _embedder(embedder: Embedder | None) -> list[Finding]:
    if embedder is None:
        return []
    dimension = len(embedder.embed(["soma doctor"])[0])
    return [Finding("embedder", "ok", f"{embedder.model_revision} answers with {dimension} dimensions")]


def _schema(settings: Settings) -> Finding:
    event = build_event(Draft(payload={"text": "soma doctor"}), settings.limits)
    decode_event(Record(EVENTS_TOPIC, 0, 0, 0, event.id.encode(), event.value))
    return Finding("schema", "ok", "a sample event is valid")


def _libraries(settings: Settings) -> Finding:
    kinds = (settings.log.kind, settings.store.kind, settings.index.kind, settings.cache.kind)
    found, missing = [f"soma {__version__}", f"Python {platform.python_version()}"], []
    for name in (*_LIBRARIES, *(_LIBRARIES_OF[kind] for kind in kinds if kind in _LIBRARIES_OF)):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("libraries", "error", f"not installed: {', '.join(missing)}", "install soma-cli again")
    return Finding("libraries", "ok", ", ".join(found))
