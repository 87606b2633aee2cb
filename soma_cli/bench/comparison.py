"""One row of the benchmark: soma and a bare baseline measured by turns, and the target for what comes out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from soma_cli.core.settings import Settings

Unit = Literal["us", "ms", "s", "/s", "%", "MB", "x"]

HIGHER_IS_BETTER: frozenset[Unit] = frozenset({"/s"})


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the ratio soma / baseline, or on soma's own figure: at least for rates, at most for the rest."""

    bound: float
    of: Literal["ratio", "figure"] = "ratio"

    def shown(self, unit: Unit) -> str:
        sign = ">=" if unit in HIGHER_IS_BETTER else "<="
        if self.of == "ratio":
            return f"{sign} {self.bound:g}x"
        return f"{sign} {self.bound:,.10g}{'' if unit in ('/s', 'x', '%') else ' '}{unit}"

    def met(self, unit: Unit, figure: float, ratio: float | None) -> bool:
        value = figure if self.of == "figure" else ratio
        assert value is not None
        return value >= self.bound if unit in HIGHER_IS_BETTER else value <= self.bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """What to measure. `soma` and `baseline` each do one round and return its figure in `unit`.

    A round that takes milliseconds wants several: `rounds` for each repetition that was asked for. `once`: no round
    can follow another one, so there is one however many were asked for. A round puts what else it found into `more`:
    figures by name, of the last round. Without `target`, the figure is for information.
    """

    what: str
    unit: Unit
    target: Target | None
    soma: Callable[[], float]
    baseline: Callable[[], float] | None = None
    baseline_is: str = ""
    rounds: int = 1
    once: bool = False
    more: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workload:
    """`events` of about a kilobyte each; everything that is written lies in `folder`, and in places of the benchmark's
    own on the servers of `settings`, where there are any."""

    folder: Path
    events: int
    settings: Settings = field(default_factory=Settings)


Benchmark = Callable[[Workload], AbstractContextManager[Comparison]]
"""Sets a comparison up and, when left, takes it down. Raises NotHere where this machine cannot measure it."""


class NotHere(Exception):
    """This machine cannot measure that; the text says why."""


@dataclass(slots=True)
class Row:
    """A measured comparison; medians. `met` is None where there is no target, and where it could not be measured, in
    which case `note` says why. `more` are further figures in `unit` or in the unit that their name ends with."""

    name: str
    what: str
    unit: str
    soma: float | None
    baseline: float | None
    ratio: float | None
    target: str
    met: bool | None
    baseline_is: str
    note: str = ""
    more: dict[str, float] = field(default_factory=dict)


def measure(name: str, comparison: Comparison, repeat: int) -> Row:
    """By turns, soma first, so that what else the machine does meanwhile falls on both."""
    ours, theirs = [], []
    gc.collect()
    gc.freeze()  # what the benchmark holds would otherwise be walked again and again: no worker holds so much
    for _ in range(1 if comparison.once else repeat * comparison.rounds):
        ours.append(comparison.soma())
        if comparison.baseline is not None:
            theirs.append(comparison.baseline())
    gc.unfreeze()
    figure, bare = median(ours), median(theirs) if theirs else None
    ratio = figure / bare if bare else None
    target, unit = comparison.target, comparison.unit
    met = None if target is None else target.met(unit, figure, ratio)
    shown = "" if target is None else target.shown(unit)
    return Row(
        name, comparison.what, unit, figure, bare, ratio, shown, met, comparison.baseline_is, more=comparison.more
    )  # fmt: skip


def microseconds_each(count: int, action: Callable[[], object]) -> float:
    """How long one of `count` things takes that `action` does together."""
    return seconds(action) / count * 1e6


def per_second(count: int, action: Callable[[], object]) -> float:
    return count / seconds(action)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
