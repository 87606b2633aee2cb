"""Promotion from one folder of released versions to another: what is copied, and what is passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.schema_registry.files import FilesRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import CheckFailed, NotFound
from soma_cli.core.operations.schema_promote import Place, plan_promotion, promote
from soma_cli.core.operations.schema_register import Rules
from soma_cli.core.schema_results import PromotionPlan
from soma_cli.core.schemas import SchemaFolder


class Sides:
    def __init__(self, folder: Path) -> None:
        self.source, self.target = (FilesRegistry(SchemaFolder(folder / side, "asked")) for side in ("st", "pr"))

    def release(self, side: FilesRegistry, *documents: dict[str, Any]) -> None:
        for document in documents:
            side.register("one", json.dumps(document))

    def plan(self, rules: Rules = Rules()) -> PromotionPlan:
        return plan_promotion(self._place(self.source), self._place(self.target), ["one"], rules)

    def execute(self, plan: PromotionPlan) -> PromotionPlan:
        return promote(self._place(self.source), self._place(self.target), plan, lambda count: None)

    def there(self) -> list[Any]:
        return [json.loads(version.text) for version in self.target.versions("one")]

    def _place(self, side: FilesRegistry) -> Place:
        return Place(side, str)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


def most(length: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": length}


def test_an_old_version_never_becomes_the_latest(sides: Sides) -> None:
    sides.release(sides.source, most(1), most(2), most(3), most(4))
    sides.release(sides.target, most(1), most(3))
    plan = sides.plan()
    (promotion,) = plan.schemas
    assert [(copy.becomes, copy.passed_over) for copy in promotion.versions] == [
        (1, False),
        (None, True),
        (2, False),
        (3, False),
    ]
    assert sides.execute(plan).copied == 1
    assert sides.there() == [most(1), most(3), most(4)]
    assert sides.execute(sides.plan()).copied == 0


def test_a_comparison_says_whose_version_is_meant(sides: Sides) -> None:
    sides.release(sides.source, most(3), most(2))
    sides.release(sides.target, most(1), most(3))
    copy = sides.plan().schemas[0].versions[-1]
    assert copy.refused
    assert copy.check is not None
    (violation,) = copy.check.violations
    assert violation.writer == f"version 2 of {sides.target.where()}"
    assert violation.reader == f"version 2 of {sides.source.where()}"


def test_all_is_copied_where_nothing_is_there(sides: Sides) -> None:
    sides.release(sides.source, most(1), most(2))
    sides.target.set_mode("one", Mode.FULL)
    assert sides.plan().compatible is False
    assert sides.execute(sides.plan(Rules(Mode.BACKWARD))).copied == 2
    assert sides.there() == [most(1), most(2)]


def test_a_version_that_is_gone_meanwhile_is_told(sides: Sides, tmp_path: Path) -> None:
    sides.release(sides.source, most(1), most(2))
    plan = sides.plan()
    (tmp_path / "st/versions/one/1.json").unlink()
    with pytest.raises(NotFound, match="version 1 of one is no longer in the registry"):
        sides.execute(plan)
    assert sides.there() == []


def test_nothing_is_copied_after_a_version_that_it_was_not_checked_against(sides: Sides) -> None:
    sides.release(sides.source, most(1), most(2))
    plan = sides.plan()
    sides.release(sides.target, most(9))
    with pytest.raises(CheckFailed, match="has got a version of one meanwhile") as raised:
        sides.execute(plan)
    assert raised.value.code == "registry_changed"
    assert sides.there() == [most(9)]


def test_two_promotions_at_once_are_one(sides: Sides) -> None:
    sides.release(sides.source, most(1), most(2))
    plans = [sides.plan(), sides.plan()]
    for plan in plans:
        assert sides.execute(plan).executed
    assert sides.there() == [most(1), most(2)]
