"""Forgetting by score: a plan of what a policy selects, and its execution as `deleted` events.

A plan holds the version of each memory that it scored, and every delete is bound to that version: a memory that
changes between the plan and the delete stays, and is reported as skipped.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TypeVar

from soma_cli.core.errors import SomaError
from soma_cli.core.event import DELETED, MemoryEvent
from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.eventing.producer_schema import CheckSchema
from soma_cli.core.instants import format_instant
from soma_cli.core.memory import MemoryState, Outcome
from soma_cli.core.operations.score import inputs_of, terms_shown, unread_selected_after_hours
from soma_cli.core.ports import EventLog, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.results import PrunePlan, Selected, Skipped
from soma_cli.core.scoring import Inputs, Policy, Score, score
from soma_cli.core.settings import LimitSettings
from soma_cli.core.text import text_of

_CHUNK = 500
_TEXT_KEPT = 120

T = TypeVar("T")


@dataclass(slots=True)
class _Count:
    considered: int = 0
    matching: int = 0


def plan(
    store: MemoryStore,
    policy: Policy,
    now_us: int,
    *,
    namespace: str | None = None,
    limit: int | None = None,
    text_pointers: Sequence[str] = (),
) -> PrunePlan:
    """What the policy selects at `now_us` (microseconds since the epoch): highest score first, then by id.

    All live memories are streamed; only those selected are held, and no more than `limit` of them.
    """
    count = _Count()
    found = _matching(store, policy, now_us, namespace, text_pointers, count)
    selected = sorted(found, key=_rank) if limit is None else heapq.nsmallest(limit, found, key=_rank)
    return PrunePlan(
        policy=policy.name,
        now=format_instant(now_us),
        threshold=policy.threshold,
        weights=asdict(policy.weights),
        considered=count.considered,
        matching=count.matching,
        selected=selected,
        unread_selected_after_hours=unread_selected_after_hours(policy),
    )


def _rank(selected: Selected) -> tuple[float, str]:
    return -selected.score, selected.id


def _matching(
    store: MemoryStore, policy: Policy, now_us: int, namespace: str | None, pointers: Sequence[str], count: _Count
) -> Iterator[Selected]:
    for states in _chunks(store.scan_states(namespace=namespace)):
        accesses = store.access([state.id for state in states])
        for state in states:
            inputs = inputs_of(state, accesses.get(state.id))
            scored = score(inputs, policy, now_us)
            count.considered += 1
            if scored.prune:
                count.matching += 1
                yield _selected(state, inputs, scored, pointers)


def _selected(state: MemoryState, inputs: Inputs, scored: Score, pointers: Sequence[str]) -> Selected:
    read_us = inputs.last_access_us
    return Selected(
        id=state.id,
        version=state.version,
        score=scored.value,
        terms=terms_shown(scored.terms),
        namespace=state.namespace,
        last_access=None if read_us is None else format_instant(read_us),
        access_count=inputs.access_count,
        importance=inputs.importance,
        created_at=format_instant(inputs.created_at_us),
        text=text_of(state.payload, pointers)[:_TEXT_KEPT],
    )


def execute(
    log: EventLog,
    store: MemoryStore,
    plan: PrunePlan,
    limits: LimitSettings,
    *,
    actor: str | None,
    check_schema: CheckSchema,
    apply_kv: Callable[[], None],
    progress: Callable[[int], None],
) -> PrunePlan:
    """Append a delete for each memory of the plan, then ask the journal what became of them.

    `apply_kv` brings the journal up to the log; `progress` is told of deletes appended. An error carries in its
    details how many deletes were `appended` before it; the same prune can be run again for the rest.
    """
    positions: list[Position] = []
    try:
        for chunk in _chunks(plan.selected):
            events = [_delete_event(plan, selected, limits, actor) for selected in chunk]
            positions += [appended.position for appended in append_events(log, events, list(map(check_schema, events)))]
            progress(len(chunk))
        apply_kv()
        skipped = _skipped(store, log.topic_id(EVENTS_TOPIC), zip(plan.selected, positions, strict=True))
    except SomaError as error:
        error.details["appended"] = len(positions)
        raise
    return replace(plan, executed=True, appended=len(positions), skipped=skipped)


def _delete_event(plan: PrunePlan, selected: Selected, limits: LimitSettings, actor: str | None) -> MemoryEvent:
    reason = {
        "kind": "prune",
        "policy": plan.policy,
        "score": selected.score,
        "terms": selected.terms,
        "weights": plan.weights,
        "threshold": plan.threshold,
        "now": plan.now,
    }
    draft = Draft(
        payload={},
        type=DELETED,
        id=selected.id,
        namespace=selected.namespace,
        if_version=selected.version,
        reason=reason,
        actor=actor,
    )
    return build_event(draft, limits)


def _skipped(store: MemoryStore, topic_id: str, sent: Iterable[tuple[Selected, Position]]) -> list[Skipped]:
    skipped = []
    for chunk in _chunks(sent):
        journal = store.journal_at(topic_id, [position for _, position in chunk])
        for selected, position in chunk:
            entry = journal.get(position)
            if entry is None:
                skipped.append(Skipped(selected.id, selected.version, f"kv has not reached {position} yet"))
            elif entry.outcome is not Outcome.APPLIED:
                skipped.append(Skipped(selected.id, selected.version, entry.note or entry.outcome.value))
    return skipped


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
