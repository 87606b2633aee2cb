"""The numbers in docs/scoring.md, recomputed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from soma_cli.core.operations.score import unread_selected_after_hours
from soma_cli.core.scoring import HOUR_US, POLICIES, Inputs, score

PAGE = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
ROADMAP, RETAIN = POLICIES["roadmap"], POLICIES["retain"]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this heading."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_tables_are_there() -> None:
    assert len(rows("hours old")) == 11
    assert len(rows("importance")) == 6


@pytest.mark.parametrize("row", rows("hours old"), ids=" ".join)
def test_example_scores(row: list[str]) -> None:
    old, read, times, importance, *shown = row
    read_us = None if read == "never" else -int(float(read) * HOUR_US)
    inputs = Inputs(-int(old) * HOUR_US, read_us, int(times), float(importance))
    for text, policy in zip(shown, (ROADMAP, RETAIN), strict=True):
        result = score(inputs, policy, 0)
        assert text == f"{result.value:.3f} {'pruned' if result.prune else 'kept'}"


@pytest.mark.parametrize("row", rows("importance"), ids=" ".join)
def test_hours_until_an_unread_memory_is_selected(row: list[str]) -> None:
    importance, *shown = row
    assert shown == [f"{unread_selected_after_hours(policy, float(importance)):.1f}" for policy in (ROADMAP, RETAIN)]


def test_numbers_in_the_text() -> None:
    assert f"selected {unread_selected_after_hours(ROADMAP):.1f} hours after its creation" in PAGE
    years = (unread_selected_after_hours(ROADMAP, 6.0) or 0) / 24 / 365.25
    assert round(years, -1) == 120
    assert "importance 6: some 120 years" in PAGE
    assert f"(720 hours), {math.log(721) - 2 + 0.27 * 0.5:.1f} with `roadmap`" in PAGE
    assert f"e² = {math.exp(2):.1f}" in PAGE


def test_weights_in_the_text() -> None:
    weights = ROADMAP.weights
    stated = (
        f"weights {weights.age} (age), {weights.recency} (recency), {weights.access} (access), "
        f"{weights.importance} (importance), threshold {ROADMAP.threshold}."
    )
    assert stated in PAGE
    assert f"{RETAIN.weights.recency} (recency), {RETAIN.weights.access} (access), all else the same" in PAGE
    assert (RETAIN.weights.age, RETAIN.weights.importance, RETAIN.threshold) == (
        weights.age,
        weights.importance,
        ROADMAP.threshold,
    )
