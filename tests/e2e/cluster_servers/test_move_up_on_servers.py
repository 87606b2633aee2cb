"""From the embedded profile to servers: `replay -o jsonl` piped into `produce -`; and configurations that mix both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.system import MemorySystem
from tests.e2e.cluster_servers.projections import PATIENCE_S, ClusterSoma, check_everything, passed_by_all
from tests.e2e.conftest import ROOT, Soma, groups_of_lag, wait_until
from tests.services import kafka_address, postgres_dsn

MEMORIES = 40
PRUNED = int(os.environ.get("SOMA_TEST_PRUNED", "100000"))


def ids() -> list[str]:
    return [f"00000000-0000-4000-8000-{number:012d}" for number in range(MEMORIES)]


def lived(system: MemorySystem) -> None:
    """A life with all kinds of outcomes: applied, ignored, duplicate."""

    def append(id: str, type: str, text: str, **fields: Any) -> None:
        event = build_event(Draft({} if type == "deleted" else {"text": text}, type=type, id=id, **fields), limits)
        append_events(system.adapters.log, [event])

    limits = system.settings.limits
    for number, id in enumerate(ids()):
        event_id = f"99999999-0000-4000-8000-{number:012d}"
        append(id, "created", f"first {number}", event_id=event_id, importance=1.0 + number)
        receipt = system.update(id, text=f"second {number}")
        version = system.fetch(id).version
        assert receipt.type == "updated"
        append(id, "updated", f"third {number}", if_version=version)
        append(id, "updated", f"not met {number}", if_version=version)
        append(id, "created", f"a duplicate {number}", event_id=event_id)
        if number % 4 == 0:
            append(id, "deleted", "", reason={"kind": "test"}, actor="test")
            append(id, "updated", "too late")
        if number % 8 == 0:
            append(id, "created", f"revived {number}")


def told(system: MemorySystem, id: str) -> list[tuple[Any, ...]]:
    """History but for duplicates, which are not sent again, and for what names a place in one log."""
    return [
        (entry.event_id, entry.type, entry.outcome, _without_version(entry.event))
        for entry in system.history(id)
        if entry.outcome != "duplicate"
    ]


def _without_version(event: Any) -> dict[str, Any]:
    document = event if isinstance(event, dict) else json.loads(event)
    return {name: value for name, value in document.items() if name != "if_version"}


def state(system: MemorySystem, id: str) -> tuple[Any, ...] | None:
    memory = system.get(id)
    return None if memory is None else (memory.namespace, memory.payload, memory.importance, memory.last_event_id)


def piped(source: Soma, target: Soma) -> dict[str, Any]:
    """`soma replay -o jsonl | soma produce - -o json`; the result of the latter."""
    soma = [sys.executable, "-m", "soma_cli"]
    with subprocess.Popen(
        [*soma, "replay", "-o", "jsonl"], cwd=ROOT, env=source.env(), stdout=subprocess.PIPE
    ) as replay:
        done = subprocess.run(
            [*soma, "produce", "-", "-o", "json"], cwd=ROOT, env=target.env(), stdin=replay.stdout,
            capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert replay.wait() == 0
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_life_moves_up_with_its_history_and_a_second_time_adds_nothing(cluster: ClusterSoma, tmp_path: Path) -> None:
    embedded = Soma(tmp_path / "embedded", tmp_path / "output")
    worker = cluster.start("consume", "all")
    with embedded.library() as source, cluster.system() as target:
        lived(source)
        first = piped(embedded, cluster)
        passed_by_all(cluster, target, worker)
        for id in ids():
            assert state(target, id) == state(source, id)
            assert told(target, id) == told(source, id)
        again = piped(embedded, cluster)
        assert (first["rejected"], again["rejected"], again["appended"]) == (0, 0, 0)
        assert again["duplicates"] == first["appended"] + first["duplicates"]
        passed_by_all(cluster, target, worker)
        check_everything(cluster, target)
        found, wanted = (
            {hit.id for hit in system.search("second third revived", limit=100)} for system in (target, source)
        )
        assert found == wanted
    assert worker.terminated() == 0


MIXED = {
    "kafka, sqlite, edge": {"SOMA_STORE__KIND": "sqlite", "SOMA_CACHE__KIND": "none"},
    "sqlite, postgres, edge": {"SOMA_LOG__KIND": "sqlite", "SOMA_CACHE__KIND": "none"},
    "kafka, postgres, edge, no cache": {"SOMA_CACHE__KIND": "none"},
}


@pytest.mark.parametrize("settings", MIXED.values(), ids=MIXED)
def test_a_mixed_configuration_works(tmp_path: Path, settings: dict[str, str]) -> None:
    soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn())
    soma.settings |= settings
    try:
        assert soma.json("init")["epoch"] == 0
        follows_itself = settings.get("SOMA_LOG__KIND") == "sqlite"
        worker = soma.start("consume", "all")
        stored = soma.json("store", "--text", "a memory of a mixed configuration", "--wait", "all")
        assert set(stored["outcomes"].values()) == {"applied"}, stored
        assert soma.json("get", stored["id"])["payload"] == {"text": "a memory of a mixed configuration"}
        assert [hit["id"] for hit in soma.json("search", "mixed configuration")] == [stored["id"]]
        # audit and latest follow in their own time
        wait_until(lambda: {group["lag"] for group in groups_of_lag(soma)} == {0}, "no lag")
        doctor = soma.inline("doctor", "-o", "json")
        findings = json.loads(doctor.stdout)["findings"]
        assert [finding for finding in findings if finding["status"] == "error"] == [], doctor.stdout
        assert worker.terminated() == 0
        assert follows_itself or "audit" in worker.stderr
    finally:
        soma.kill_all()


PRUNE = """
import json, resource, sys
from soma_cli.main import app
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    app(["prune", "--limit", "10", "--now", "+0h" if False else sys.argv[1], "-o", "json"], standalone_mode=False)
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps({"kbytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), file=sys.stderr)
"""


def test_a_plan_to_prune_streams_the_rows(tmp_path: Path) -> None:
    """So many rows straight into the table (the plan looks at nothing else): the process stays small."""
    soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn())
    assert soma.inline("init").returncode == 0
    peaks = []
    for rows in (PRUNED // 10, PRUNED):
        _fill(soma, rows)
        done = soma.start_script(PRUNE, "2030-01-01T00:00:00Z")
        assert done.wait() == 0, done.stderr
        plan = json.loads(done.stdout)
        assert (plan["considered"], plan["matching"], len(plan["selected"])) == (rows, rows, 10)
        peaks.append(json.loads(done.stderr.splitlines()[-1])["kbytes"])
    assert peaks[1] < peaks[0] + 20_000, f"{peaks} KB for ten times as many rows"


def _fill(soma: ClusterSoma, rows: int) -> None:
    import psycopg

    with psycopg.connect(soma.dsn) as connection:
        connection.execute(
            "INSERT INTO memories (id, version, created_at, updated_at, importance, last_event_id, deleted, namespace, "
            "payload_json) SELECT gen_random_uuid(), n, now(), now(), 0.1, gen_random_uuid(), false, 'many', "
            """'{"text": "' || repeat('x', 1000) || '"}' """
            "FROM generate_series((SELECT count(*) FROM memories), %s - 1) AS n",
            (rows,),
        )
