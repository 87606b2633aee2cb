"""Scoring one memory, or given inputs, under a policy."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from soma_cli.core.errors import UsageError
from soma_cli.core.instants import MICROSECONDS, format_instant
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Access
from soma_cli.core.results import ScoreResult
from soma_cli.core.scoring import HOUR_US, POLICIES, Inputs, Policy, Terms, prunes_at, score
from soma_cli.core.settings import ScoringSettings


def policy_of(settings: ScoringSettings, name: str | None = None, threshold: float | None = None) -> Policy:
    """The named policy (the settings' if None) with the settings' weights and threshold over its own.

    A `threshold` given here comes first. Raises UsageError for an unknown policy and for numbers that are not finite.
    """
    chosen = POLICIES.get(name or settings.policy)
    if chosen is None:
        raise UsageError(f"{name!r} is not a policy", hint=f"the policies are: {', '.join(POLICIES)}")
    given = {key: value for key, value in asdict(settings.weights).items() if value is not None}
    thresholds = (threshold, settings.threshold, chosen.threshold)
    return replace(
        chosen,
        weights=replace(chosen.weights, **given),
        threshold=next(value for value in thresholds if value is not None),
    )


def inputs_of(state: MemoryState, access: Access | None) -> Inputs:
    """What is scored of a memory; one that was never read has no last access."""
    return Inputs(
        created_at_us=state.created_at,
        last_access_us=None if access is None else access.last_access,
        access_count=0 if access is None else access.access_count,
        importance=state.importance,
    )


def score_result(inputs: Inputs, policy: Policy, now_us: int, about: dict[str, Any]) -> ScoreResult:
    """The score of `inputs` and when they would be pruned; `about` names the memory among the result's inputs."""
    scored = score(inputs, policy, now_us)
    pruned_us = prunes_at(inputs, policy, now_us)
    return ScoreResult(
        score=scored.value,
        prune=scored.prune,
        prunes_at=None if pruned_us is None else format_instant(pruned_us),
        threshold=policy.threshold,
        policy=policy.name,
        now=format_instant(now_us),
        terms=terms_shown(scored.terms),
        inputs=about | _inputs_shown(inputs, now_us),
        weights=asdict(policy.weights),
    )


def _inputs_shown(inputs: Inputs, now_us: int) -> dict[str, Any]:
    read_us = inputs.last_access_us
    return {
        "importance": inputs.importance,
        "created_at": format_instant(inputs.created_at_us),
        "last_access": None if read_us is None else format_instant(read_us),
        "access_count": inputs.access_count,
        "age_s": max(0, now_us - inputs.created_at_us) / MICROSECONDS,
        "since_access_s": max(0, now_us - inputs.read_at_us) / MICROSECONDS,
    }


def terms_shown(terms: Terms) -> dict[str, float]:
    """The terms by name. Adding zero turns -0.0, which not every store keeps, into 0.0."""
    return {name: value + 0.0 for name, value in asdict(terms).items()}


def unread_selected_after_hours(policy: Policy, importance: float = 1.0) -> float | None:
    """Hours after its creation at which a memory that nobody reads is first selected; None if it never is."""
    created_us = 0
    pruned_us = prunes_at(Inputs(created_us, importance=importance), policy, created_us)
    return None if pruned_us is None else (pruned_us - created_us) / HOUR_US
