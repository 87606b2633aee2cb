"""`soma replay` of a topic that was compacted: everything that was ever appended, from the audit where it must be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.e2e.cluster_servers.projections import ClusterSoma, passed_by_all
from tests.e2e.cluster_servers.test_compaction import compact, compacted, first_half, second_half

__all__ = ["compacted"]


def replayed(soma: ClusterSoma, options: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    done = soma.run("replay", "-o", "jsonl", *options)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({line["position"] for line in lines}) == len(lines)
    return {line["position"]: line for line in lines}


def test_what_compaction_took_is_replayed_all_the_same(compacted: ClusterSoma) -> None:
    audit, kv = compacted.start("consume", "audit"), compacted.start("consume", "kv")
    with compacted.system() as system:
        first_half(system)
        before = replayed(compacted)
        second_half(system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
        compact(compacted, system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
    after = replayed(compacted)
    assert before.items() <= after.items()
    first, last = (
        min(line["appended_at"] for line in before.values()),
        max(line["appended_at"] for line in before.values()),
    )
    assert replayed(compacted, ["--from", first, "--to", last]).keys() == {
        position for position, line in after.items() if first <= line["appended_at"] <= last
    }
    id = next(iter(before.values()))["event"]["id"]
    assert len(replayed(compacted, ["--id", id])) == sum(line["event"]["id"] == id for line in after.values())
    assert (kv.terminated(), audit.terminated()) == (0, 0)
