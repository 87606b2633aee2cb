"""A topic that was really compacted, with late duplicates of old events as what is left: nothing depends on that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from soma_cli.core.eventing.audit import source_of
from soma_cli.core.eventing.producer import Draft, append_events, build_event
from soma_cli.core.memory import Outcome
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord, Record
from soma_cli.core.system import MemorySystem
from tests.e2e.cluster_servers.projections import (
    JOURNAL,
    ClusterSoma,
    Expected,
    check_store,
    events_of,
    passed_by_all,
    records_of,
    wait_until,
)
from tests.services import kafka_address, postgres_dsn

LAG_S = 1.0
MEMORIES = 60


@pytest.fixture
def compacted(tmp_path: Path) -> Iterator[ClusterSoma]:
    """An installation whose events may be compacted a second after they were appended."""
    soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn())
    soma.settings["SOMA_LOG__COMPACTION_LAG_S"] = str(LAG_S)
    assert soma.inline("init").returncode == 0
    yield soma
    soma.kill_all()


def ids() -> list[str]:
    return [f"00000000-0000-4000-8000-{number:012d}" for number in range(MEMORIES)]


def append(system: MemorySystem, id: str, type: str, text: str, **fields: Any) -> None:
    payload = {} if type == "deleted" else {"text": text}
    event = build_event(Draft(payload, type=type, id=id, **fields), system.settings.limits)
    append_events(system.adapters.log, [event])


def first_half(system: MemorySystem) -> None:
    for number, id in enumerate(ids()):
        append(system, id, "created", f"first of {number}")
        append(system, id, "updated", f"second of {number}")


def second_half(system: MemorySystem) -> None:
    """Then late duplicates of the very first events: all that compaction leaves of many memories."""
    firsts: dict[bytes, Record] = {}
    for record in events_of(system.adapters.log):
        firsts.setdefault(record.key or b"", record)
    for number, id in enumerate(ids()):
        append(system, id, "updated", f"not met {number}", if_version=1 << 39)
        if number % 3 == 0:
            append(system, id, "deleted", "")
        if number % 6 == 0:
            append(system, id, "updated", "after the delete")
    late = [firsts[id.encode()] for number, id in enumerate(ids()) if number % 2 == 0]
    system.adapters.log.append([NewRecord(EVENTS_TOPIC, r.key, r.value, r.headers) for r in late])


def compact(soma: ClusterSoma, system: MemorySystem) -> None:
    """Close the segments, and wait until records are gone. The active segment stays: each partition gets new ones."""
    before = {record.position for record in events_of(system.adapters.log)}
    admin = AdminClient({"bootstrap.servers": soma.settings["SOMA_LOG__BOOTSTRAP_SERVERS"]})
    resource = ConfigResource(ResourceType.TOPIC, soma.topic(EVENTS_TOPIC))
    for name, value in (("segment.ms", "200"), ("min.cleanable.dirty.ratio", "0.001")):
        resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)

    def gone() -> bool:
        for number in range(6):
            append(system, f"11111111-0000-4000-8000-{number:012d}", "created", "closes a segment")
        left = {record.position for record in events_of(system.adapters.log)}
        return len(before - left) > MEMORIES

    wait_until(gone, "records compacted away")


def empty_audit(soma: ClusterSoma, system: MemorySystem) -> None:
    admin = AdminClient({"bootstrap.servers": soma.settings["SOMA_LOG__BOOTSTRAP_SERVERS"]})
    ends = [
        TopicPartition(soma.topic(AUDIT_TOPIC), partition, bounds.end)
        for partition, bounds in system.adapters.log.bounds(AUDIT_TOPIC).items()
    ]
    for future in admin.delete_records(ends).values():
        future.result(30)


def all_that_was(system: MemorySystem) -> Expected:
    sources = [source_of(record) for record in records_of(system.adapters.log, AUDIT_TOPIC)]
    return Expected(system.adapters.log, [source.record for source in sources if source is not None])


def copy_of_database(dsn: str) -> str:
    """As a backup that is put back. Nobody may be connected meanwhile."""
    name = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}".encode())
    return make_conninfo(dsn, dbname=f"{name}_backup")


def test_rebuilds_and_old_backups_take_what_is_gone_from_the_audit(compacted: ClusterSoma) -> None:
    audit, kv = compacted.start("consume", "audit"), compacted.start("consume", "kv")
    with compacted.system() as system:
        first_half(system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
    assert kv.terminated() == 0
    backup = copy_of_database(compacted.dsn)
    kv = compacted.start("consume", "kv")
    with compacted.system() as system:
        second_half(system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
        compact(compacted, system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
        expected = all_that_was(system)
        assert expected.outcomes()[Outcome.DUPLICATE] == MEMORIES / 2
        left = Expected(system.adapters.log, events_of(system.adapters.log))
        assert left.states != expected.states, "what compaction left tells something else"
        check_store(compacted, system, expected)
        journal = compacted.query(JOURNAL)
        done = compacted.run("replay", "--into", "kv", "--execute", "--yes", "-o", "json")
        assert (done.returncode, "audit" in done.stderr) == (0, False), done.stderr
        assert '"journal":0' in done.stdout.replace(" ", "")
        check_store(compacted, system, expected)
        assert compacted.query(JOURNAL) == journal
    assert (kv.terminated(), audit.terminated()) == (0, 0)

    compacted.dsn = compacted.settings["SOMA_STORE__DSN"] = backup
    caught_up = compacted.run("consume", "kv", "--until-end")
    assert caught_up.returncode == 0, caught_up.stderr
    with compacted.system() as system:
        check_store(compacted, system, expected)
        assert compacted.query(JOURNAL) == journal
        empty_audit(compacted, system)
    warned = compacted.run("replay", "--into", "kv", "-o", "json")
    assert warned.returncode == 0
    assert "memory.audit is empty" in warned.stderr
    assert "soma consume audit" in warned.stderr


def test_what_is_compacted_while_kv_runs_but_its_store_is_away(compacted: ClusterSoma) -> None:
    audit, kv = compacted.start("consume", "audit"), compacted.start("consume", "kv")
    with compacted.system() as system:
        first_half(system)
        passed_by_all(compacted, system, workers=("kv", "audit"))
        with psycopg.connect(compacted.dsn) as away:
            away.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
            second_half(system)
            passed_by_all(compacted, system, workers=("audit",))
            compact(compacted, system)
        passed_by_all(compacted, system, kv, workers=("kv", "audit"))
        check_store(compacted, system, all_that_was(system))
    assert (kv.terminated(), audit.terminated()) == (0, 0)
