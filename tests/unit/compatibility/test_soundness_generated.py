"""Pairs of schemas made at random: no document contradicts a verdict, every witness is one, and few verdicts are open.

`SOMA_TEST_SCHEMA_PAIRS` is how many pairs each test makes, `SOMA_TEST_SCHEMA_SEED` another seed than that of the gate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest

from soma_cli.core.compatibility import check
from tests.compatibility.documents import changed
from tests.compatibility.generator import distinct
from tests.compatibility.ours import answers, unproven
from tests.compatibility.pair import NOTHING, Case
from tests.compatibility.recursion import pool, recursive
from tests.compatibility.relations import equal, looser, unknown
from tests.compatibility.score import score
from tests.compatibility.universe import WORLDS, World, cases, truth

PAIRS = int(os.environ.get("SOMA_TEST_SCHEMA_PAIRS", "1000"))
SEED = int(os.environ.get("SOMA_TEST_SCHEMA_SEED", "1"))

Pairs = Callable[[int, int], Iterator[Case]]


def _recursive(seed: int, pairs: int) -> Iterator[Case]:
    return recursive(seed, pairs // 2, pool())


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_small_world_has_no_documents_but_those_that_are_listed(world: World) -> None:
    """The others' documents and near ones are asked: what the world accepts is on its list."""
    near = [changed(Random(number), one) for other in WORLDS for one in other.documents for number in range(20)]
    assert truth(world.documents, True, world.schema) is NOTHING
    assert truth(near, world.schema, {"enum": distinct(world.documents)}) is NOTHING


@pytest.mark.parametrize("pairs", [cases, looser, equal], ids=["small worlds", "looser", "the same in other words"])
def test_verdicts_of_pairs_with_a_known_truth(pairs: Pairs) -> None:
    total = score(answers(pairs(SEED, PAIRS)))
    assert not total.wrong
    assert total.undecided_share <= 0.01, total.undecided[:20]


@pytest.mark.parametrize("pairs", [unknown, _recursive], ids=["any two", "recursion"])
def test_no_document_contradicts_a_verdict(pairs: Pairs) -> None:
    opened = 0
    for case in pairs(SEED, PAIRS):
        verdict = check(case.writer, case.reader)
        assert not unproven(case, verdict), case
        assert not (verdict.compatible and not case.compatible), case
        opened += verdict.compatible is None
    assert opened <= 0.01 * PAIRS
