"""What operators do with a memory system: workers, replay and rebuilds, dead letters, pruning, lag, diagnosis.

with create_memory_system() as soma:
    plan = soma.admin.prune(policy="retain")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from soma_cli.core.errors import SomaError
from soma_cli.core.instants import now_us, parse_instant
from soma_cli.core.operations import projections, read, schema_setup
from soma_cli.core.ports import EventLog, MemoryStore, VectorIndex
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.results import (
    DoctorReport,
    Finding,
    InitResult,
    LagReport,
    Letter,
    LetterResult,
    PrunePlan,
    Rebuild,
    ScoreResult,
    TraceResult,
)
from soma_cli.core.settings import Settings
from soma_cli.core.wiring import (
    Adapters,
    folder_health,
    local_files,
    open_metrics_server,
    settled_identity,
    uses_folder,
)
from soma_cli.core.workers.catch_up import check_same_log
from soma_cli.core.workers.loop import Status, Worker
from soma_cli.core.workers.names import KV
from soma_cli.core.workers.observation import Metrics, Observer

if TYPE_CHECKING:
    from soma_cli.core.connect_path import ConnectPath
    from soma_cli.core.eventing.dead_letters import DeadLetter
    from soma_cli.core.governance import Governance
    from soma_cli.core.operations.replay import Selection

Progress = Callable[[int], None]
_PARTS = ("log", "store", "index", "registry")


class Administration:
    """The operator's side of one memory system; reached as `MemorySystem.admin`."""

    def __init__(self, settings: Settings, adapters: Adapters) -> None:
        self._settings = settings
        self._adapters = adapters

    @property
    def _log(self) -> EventLog:
        return self._adapters.log

    @property
    def _store(self) -> MemoryStore:
        return self._adapters.store

    @property
    def _index(self) -> VectorIndex:
        return self._adapters.index

    def _apply_kv(self) -> None:
        projections.apply_kv(self._settings, self._log, self._store)

    def _settle_kv(self) -> None:
        projections.settle_kv_if_possible(self._settings, self._log, self._store)

    @property
    def schemas(self) -> Governance:
        """The schemas: checks, differences, versions."""
        from soma_cli.core.governance import Governance

        return Governance(self._settings, self._adapters)

    @property
    def connect(self) -> ConnectPath:
        """The connector that lands events in the store."""
        from soma_cli.core.connect_path import ConnectPath

        return ConnectPath(self._settings, self._adapters)

    # --- the log read back ---

    def replay(self, selection: Selection | None = None) -> Iterator[dict[str, Any]]:
        """The log's records as they were appended, streamed: position, appended_at, version, event.

        With an event that has an `if_version` goes `if_event_id`, the event that made this version; kv is brought up
        to the log where it must be asked for that.
        """
        from soma_cli.core.operations.replay import AwaitedEvents, Selection, replay_line, select

        epoch = projections.registered_epoch(self._log, self._store)
        stored = self._store.positions(self._log.topic_id(EVENTS_TOPIC))
        records = select(self._log, selection or Selection(), stored)
        awaited = AwaitedEvents(self._log, self._store, epoch, self._settle_kv)
        return (replay_line(record, epoch, awaited) for record in records)

    def rebuild(
        self,
        into: str,
        *,
        decide: Callable[[Rebuild], bool] = lambda result: True,
        progress: Progress = lambda events: None,
    ) -> Rebuild:
        """Make `kv` or `vector` anew from the log; swapped in where `decide`, shown the comparison, says so."""
        from soma_cli.core.operations.rebuild import rebuild_identity, rebuild_kv, rebuild_vector

        if projections.check_projection(into) == KV:
            return rebuild_kv(self._settings, self._log, self._store, decide, progress)
        identity = rebuild_identity(settled_identity(self._settings), self._index)
        embedder = self._adapters.embedder
        return rebuild_vector(self._settings, self._log, self._store, self._index, embedder, identity, decide, progress)

    # --- dead letters ---

    def dead_letters(self) -> list[Letter]:
        """The open dead letters, oldest first."""
        from soma_cli.core.operations.dead_letters import shown

        return [shown(found) for found in self.open_letters()]

    def open_letters(self) -> list[DeadLetter]:
        """The same, as `retry_dead_letter` and `discard_dead_letter` take them: all of them for one reading."""
        from soma_cli.core.eventing.dead_letters import read_letters

        self._apply_kv()
        return read_letters(self._log)

    def dead_letter(self, position: str) -> Letter:
        """One letter, by its own position or its source's. Raises NotFound."""
        from soma_cli.core.operations.dead_letters import find_letter, shown

        return shown(find_letter(self._log, position))

    def retry_dead_letter(self, letter: str | DeadLetter, *, force: bool = False) -> LetterResult:
        """Send the event of a letter, or of the one at a position, again, and settle the letter once it is applied.

        Raises NotFound; CheckFailed where its memory has changed since, unless `force`, or where it was ignored;
        TooManyRejects where bad records have stopped kv.
        """
        from soma_cli.core.operations.dead_letters import find_letter, retry

        if isinstance(letter, str):
            self._apply_kv()
            letter = find_letter(self._log, letter)
        epoch = projections.registered_epoch(self._log, self._store)

        def apply_kv() -> None:
            projections.settle_kv(self._settings, self._log, self._store)

        return retry(self._log, self._store, epoch, letter, force=force, apply_kv=apply_kv)

    def discard_dead_letter(self, letter: str | DeadLetter) -> LetterResult:
        """Settle a letter, or the one at a position, without sending it again. Raises NotFound."""
        from soma_cli.core.operations.dead_letters import discard, find_letter

        return discard(self._log, find_letter(self._log, letter) if isinstance(letter, str) else letter)

    def stats(self) -> dict[str, Any]:
        """Counts, sizes in bytes, and where the data lies."""
        from soma_cli.core.operations.stats import stats

        self._apply_kv()
        return stats(self._settings, self._log, self._store, self._index)

    # --- forgetting by score ---

    def prune(
        self,
        *,
        policy: str | None = None,
        threshold: float | None = None,
        namespace: str | None = None,
        now: str | None = None,
        limit: int | None = None,
        execute: bool = False,
        actor: str | None = None,
    ) -> PrunePlan:
        """What the policy would forget, highest score first, `limit` at most; with `execute` that is deleted.

        `now` is a time; the same memories and `now` give the same plan. Raises UsageError.
        """
        from soma_cli.core.operations.prune import plan
        from soma_cli.core.operations.score import policy_of

        chosen = policy_of(self._settings.scoring, policy, threshold)
        instant = now_us() if now is None else parse_instant(now)
        pointers = self._settings.index.text_pointers
        self._apply_kv()
        planned = plan(self._store, chosen, instant, namespace=namespace, limit=limit, text_pointers=pointers)
        return self.execute_prune(planned, actor=actor) if execute else planned

    def execute_prune(
        self, plan: PrunePlan, *, actor: str | None = None, progress: Progress = lambda deletes: None
    ) -> PrunePlan:
        """Delete what a plan selected, but for what changed since: that is `skipped` in the plan returned."""
        from soma_cli.core.operations.prune import execute

        limits = self._settings.limits
        return execute(
            self._log,
            self._store,
            plan,
            limits,
            actor=actor,
            check_schema=self._adapters.event_schema,
            apply_kv=self._settle_kv,
            progress=progress,
        )

    def score(
        self, id: str, *, policy: str | None = None, threshold: float | None = None, now: str | None = None
    ) -> ScoreResult:
        """The prune score of a memory. Does not count as an access. Raises NotFound, UsageError."""
        from soma_cli.core.operations.score import inputs_of, policy_of, score_result

        chosen = policy_of(self._settings.scoring, policy, threshold)
        instant = now_us() if now is None else parse_instant(now)
        self._apply_kv()
        state = read.live_state(self._store, read.check_id(id))
        inputs = inputs_of(state, self._store.access([state.id]).get(state.id))
        return score_result(inputs, chosen, instant, {"id": state.id, "version": state.version})

    def score_inputs(
        self,
        *,
        importance: float = 1.0,
        created: str | None = None,
        last_access: str | None = None,
        access_count: int = 0,
        policy: str | None = None,
        threshold: float | None = None,
        now: str | None = None,
    ) -> ScoreResult:
        """The score that a memory of these inputs would have; created now if not said. Durations count from `now`."""
        from soma_cli.core.operations.score import policy_of, score_result
        from soma_cli.core.scoring import Inputs

        chosen = policy_of(self._settings.scoring, policy, threshold)
        instant = now_us() if now is None else parse_instant(now)
        created_us = instant if created is None else parse_instant(created, now=instant)
        read_us = None if last_access is None else parse_instant(last_access, now=instant)
        return score_result(Inputs(created_us, read_us, access_count, importance), chosen, instant, {})

    # --- workers ---

    def worker(
        self,
        name: str,
        *,
        until_end: bool = False,
        max_events: int | None = None,
        start: str | None = None,
        batch_size: int | None = None,
        max_rejects: int | None = None,
        report: Callable[[Status], None] = lambda status: None,
        observer: Observer | None = None,
    ) -> Worker:
        """A worker; call its `run()`, and set its `stop` from elsewhere to end it.

        Names are those of `operations.workers.WORKERS`. Raises ConfigurationError for one that these settings have no
        use for.
        """
        from soma_cli.core.operations.workers import make_worker

        settings = self._settings
        pace = settings.worker
        if batch_size is not None:
            pace = replace(pace, batch_size=batch_size, kv_batch_size=batch_size)
        return make_worker(
            replace(settings, worker=pace),
            self._adapters,
            name,
            until_end=until_end,
            max_events=max_events,
            start=start,
            max_rejects=max_rejects,
            report=report,
            observer=observer,
        )

    def begin_workers(
        self, make: Callable[[], list[Worker]], stop: threading.Event, tell: Callable[[str], None]
    ) -> list[Worker]:
        """The workers that `make` makes, tried again while a server is away; none where `stop` was set first.

        `tell` is given each failure, with the pause before the next try.
        """
        from soma_cli.core.workers.starting import when_servers_answer

        return when_servers_answer(make, self._settings.worker, stop, tell) or []

    def run_workers(self, workers: Sequence[Worker]) -> None:
        """Run workers of one process together until they end; the first failure stops all, and is raised."""
        from soma_cli.core.workers.together import run_together

        run_together(workers, in_step=self._log.follows_itself)

    def metrics_server(self, names: Sequence[str], port: int) -> Metrics:
        """Serves metrics and health of workers to be given its `observer`. Raises ConfigurationError."""
        from soma_cli.core.operations.workers import readiness_checks

        return open_metrics_server(self._settings, port, readiness_checks(self._adapters, names))

    def worker_names(self, name: str) -> list[str]:
        """The workers that `soma consume NAME` runs with these settings; `all` are several."""
        from soma_cli.core.operations.workers import worker_names

        return worker_names(self._settings, self._log, name)

    def lag(self, *, threshold: int | None = None, max_age_s: float | None = None) -> LagReport:
        """How far each projection is behind the log; applies nothing. Raises LogReplaced."""
        from soma_cli.core.operations.lag import lag

        return lag(
            self._settings,
            self._log,
            self._store,
            self._index,
            now=now_us(),
            threshold=threshold,
            max_age_s=max_age_s,
        )

    def init(self, *, new_epoch: bool = False) -> InitResult:
        """Make the data folder and everything in it, topics, tables and collections; what is there stays as it is.

        Raises LogReplaced where the log is not the one that the store was made from; with `new_epoch` it is accepted,
        and its events count from the next epoch on.
        """
        from soma_cli.core.operations.init import accept_log, present

        files = local_files(self._settings)
        before = present(files)
        self._adapters.accept_new_log = new_epoch
        made = [part.provision() for part in (self._log, self._store)]
        epoch, accepted = accept_log(self._log, self._store, new_epoch=new_epoch)
        made.append(self._index.provision())
        if self._settings.registry.kind == "confluent_http":
            made.append(schema_setup.provision(self._adapters.registry, self._settings))
        served = [part for part, name in zip(made, _PARTS, strict=False) if name not in files]
        return InitResult(
            data_dir=str(self._settings.data_dir),
            created=[part for part in files if part not in before] + [name for part in served for name in part.created],
            existing=before + [name for part in served for name in part.existing],
            epoch=epoch,
            topic_id=self._log.topic_id(EVENTS_TOPIC),
            new_epoch=accepted,
            differing=[finding for part in made for finding in part.differing],
        )

    def doctor(self, *, deep: bool = False) -> DoctorReport:
        """Look at everything that can be wrong; changes nothing, and goes on where something is broken."""
        from soma_cli.core.operations.doctor import Parts, diagnose, report
        from soma_cli.core.operations.init import present

        files = local_files(self._settings)
        parts = Parts(
            missing=set(files) - set(present(files)),
            folder=(lambda: folder_health(self._settings)) if uses_folder(self._settings) else None,
            log=lambda: self._log,
            store=lambda: self._store,
            index=lambda: self._index,
            cache=lambda: self._adapters.cache,
            embedder=lambda: self._adapters.embedder,
            registry=lambda: self._adapters.registry,
            identity=settled_identity(self._settings),
        )
        found = diagnose(self._settings, parts, now=now_us(), deep=deep).findings
        return report(found + self._continuity(found))

    def _continuity(self, found: list[Finding]) -> list[Finding]:
        """An error where kv has read another log than this; asked only where nothing else says so already."""
        if not {("identity", "ok"), (KV, "ok")} <= {(finding.check, finding.status) for finding in found}:
            return []
        try:
            check_same_log(self._log, self._store)
        except SomaError as error:
            return [Finding("continuity", "error", error.message, error.hint)]
        return []

    def trace(self, event_id: str) -> TraceResult:
        """Where an event is in every projection, with times; applies nothing. Raises NotFound, LogReplaced."""
        from soma_cli.core.operations.trace import trace

        return trace(self._log, self._store, self._index, event_id)
