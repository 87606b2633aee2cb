"""What Kafka Connect lands becomes rows and journal, as `consume kv` makes them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from soma_cli.core.event import new_id
from soma_cli.core.eventing.dead_letters import read_letters
from soma_cli.core.memory import Outcome
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.serialization import serialize
from tests.e2e.cluster.end_state import check_dead_letters, check_table_and_journal
from tests.e2e.cluster.installation import wait_until_kv_is_at_the_end
from tests.e2e.cluster.load import Stream, append
from tests.e2e.cluster_connect.installation import Landed
from tests.e2e.cluster_connect.same_as_kv import check_same_as_kv
from tests.e2e.conftest import groups_of_lag, wait_until

DEPLOY = Path(__file__).parents[3] / "deploy" / "connect"
EVENTS = 5000
NEVER_S = 3600.0
"""So that nothing is read from the log because Connect takes its time."""


def test_a_row_is_there_within_5_s_of_store(landed: Landed) -> None:
    landed.choose(connect__stall_s=6.0)
    worker = landed.start("consume", "landing")
    first = landed.json("store", "--text", "Alice prefers window seats")
    _wait_for(landed, first["id"])
    wait_until(lambda: landed.run("connect", "status").returncode == 0, "a connector whose task runs")
    _check_is_seen_at_work(landed)
    _long_after(6.0)
    before = worker.stderr
    took = list[float]()
    for _ in range(3):  # the best of them: a busy machine may stop for seconds
        second = landed.json("store", "--text", "Bob prefers aisle seats")
        _wait_for(landed, second["id"])
        applied = f"SELECT extract(epoch FROM applied_at - appended_at) FROM memory_events WHERE id = '{second['id']}'"
        took.append(landed.rows(applied)[0][0])
    assert min(took) < 5.0
    assert "reading the log" not in worker.stderr.removeprefix(before)
    assert worker.terminated() == 0
    assert landed.json("get", second["id"])["payload"] == {"text": "Bob prefers aisle seats"}
    wait_until(lambda: _kv_states(landed) == ["idle"], "that it is seen to be gone")
    assert ", no landing worker runs; " in landed.run("connect", "status").stdout


def _check_is_seen_at_work(landed: Landed) -> None:
    """It is in no group of kv's, and yet what moves kv's position."""
    assert _kv_states(landed) == ["active"]
    assert landed.json("connect", "status")["landing_runs"] is True
    assert ", a landing worker runs; " in landed.run("connect", "status").stdout
    told = json.loads(landed.run("doctor", "-o", "json").stdout)
    found = {finding["check"]: finding["message"] for finding in told["findings"]}
    assert found["kv"].rpartition("; ")[2] in ("a worker runs", "a worker is at it")


def _kv_states(landed: Landed) -> list[str]:
    return [group["state"] for group in groups_of_lag(landed) if group["group"].endswith("-kv")]


def test_duplicates_updates_deletes_and_disorder_end_as_with_kv(landed: Landed) -> None:
    landed.choose(connect__stall_s=NEVER_S)
    with landed.library() as system:
        append(system, Stream(7), EVENTS)
        landed.run_to_end("landing")
        fold = check_table_and_journal(system)
        check_dead_letters(system, fold)
        assert all(fold.outcomes()[outcome] for outcome in Outcome)
    assert check_same_as_kv(landed)["journal"] == EVENTS
    wait_until(lambda: not landed.rows("SELECT FROM memory_landing"), "an empty landing table")


def test_records_that_are_no_events_reach_the_dead_letters_as_with_kv(landed: Landed) -> None:
    good = _event(new_id())
    headers = (("trace", b"\x00\xff"), ("list", b"[[[[["), ("soma-attempts", b"2"), ("none", b""))
    records = [
        NewRecord(EVENTS_TOPIC, b"key", b"{not json", headers),
        NewRecord(EVENTS_TOPIC, b"\xff\x00", b"\xff\xfe", headers),
        NewRecord(EVENTS_TOPIC, b"gone", None, headers),
        NewRecord(EVENTS_TOPIC, b"", b'{"payload": "\\u0000"}'),
        NewRecord(EVENTS_TOPIC, good["id"].encode(), _with_nul(good)),
        NewRecord(EVENTS_TOPIC, good["id"].encode(), serialize(good), headers),
    ]
    with landed.library() as system:
        system.adapters.log.append(records)
        landed.run_to_end("landing")
        fold = check_table_and_journal(system)
        check_dead_letters(system, fold)
        assert fold.outcomes() == {Outcome.APPLIED: 1, Outcome.REJECTED: len(records) - 1}
        letters = {letter.source.key: letter for letter in read_letters(system.adapters.log)}
        assert letters[b"key"].source.headers == headers
        assert letters[b"key"].attempts == 3
        assert letters[b"gone"].source.value is None
    check_same_as_kv(landed)


def test_a_header_named_as_the_landings_own_is_nothing_special(landed: Landed) -> None:
    landed.choose(connect__stall_s=NEVER_S)
    reserved = (("soma-landing-key", b"a name that the landing itself uses"),)
    events = [_event(new_id()) for _ in range(3)]
    with landed.library() as system:
        for event, headers in zip(events, ((), reserved, ()), strict=True):
            record = NewRecord(EVENTS_TOPIC, event["id"].encode(), serialize(event), headers)
            system.adapters.log.append([record])
        landed.run_to_end("landing")
        assert check_table_and_journal(system).outcomes() == {Outcome.APPLIED: 3}
    assert not _connects_dead_letters(landed, 0)
    check_same_as_kv(landed)


def test_what_connect_cannot_land_is_in_its_dead_letters_with_the_context_and_applied_all_the_same(
    unapplied: Landed, tmp_path: Path
) -> None:
    """What ships has no transformation that fails, so one is put before it that fails for a record with a header."""
    landed = unapplied  # a task with the shipped configuration would land all of it before it hears of the other
    landed.choose(connect__stall_s=5.0)  # the sink commits no offset past a last record that it left out
    shipped = json.loads((DEPLOY / "memory-landing.json").read_text())
    fails = {
        "transforms": f"fails,{shipped['transforms']}",
        "transforms.fails.type": "org.apache.kafka.connect.transforms.ExtractField$Value",
        "transforms.fails.field": "absent",
        "transforms.fails.predicate": "marked",
        "predicates": "marked",
        "predicates.marked.type": "org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
        "predicates.marked.name": "fails",
    }
    (tmp_path / "fails.json").write_text(json.dumps(shipped | fails))
    landed.json("connect", "apply", "--file", str(tmp_path / "fails.json"))
    events = [_event(new_id()) for _ in range(3)]
    with landed.library() as system:
        log = system.adapters.log
        for event, headers in zip(events, ((), (("fails", b"yes"),), ()), strict=True):
            log.append([NewRecord(EVENTS_TOPIC, event["id"].encode(), serialize(event), headers)])
        landed.run_to_end("landing")
        assert check_table_and_journal(system).outcomes() == {Outcome.APPLIED: 3}
    [letter] = _connects_dead_letters(landed, 1)
    context = {name: value.decode() for name, value in letter.headers() if name.startswith("__connect.errors.")}
    assert letter.value() == serialize(events[1])
    assert context["__connect.errors.topic"] == landed.prefix + EVENTS_TOPIC
    assert {"__connect.errors.partition", "__connect.errors.offset"} <= set(context)
    assert context["__connect.errors.stage"] == "TRANSFORMATION"
    assert "Struct" in context["__connect.errors.exception.message"]


def test_a_record_that_stops_the_connector_stops_nothing_else(landed: Landed) -> None:
    """A header twice is allowed in Kafka, and more than Debezium's sink can take."""
    landed.choose(connect__stall_s=2.0)
    first, second, third = (_event(new_id()) for _ in range(3))
    with landed.library() as system:
        log = system.adapters.log
        log.append([NewRecord(EVENTS_TOPIC, first["id"].encode(), serialize(first), (("a", b"1"), ("a", b"2")))])
        log.append([NewRecord(EVENTS_TOPIC, second["id"].encode(), serialize(second))])
        worker = landed.start("consume", "landing")
        wait_until_kv_is_at_the_end(system, worker)
        assert "soma connect status" in worker.stderr
        wait_until(lambda: "FAILED" in landed.run("connect", "status").stdout, "a task that failed")
        status = landed.run("connect", "status")
        assert (status.returncode, "FAILED" in status.stdout, "apply" in status.stderr) == (7, True, True)
        assert "duplication" in status.stdout
        assert landed.apply()["restart_at"]
        wait_until(lambda: landed.run("connect", "status").returncode == 0, "a connector that runs")
        log.append([NewRecord(EVENTS_TOPIC, third["id"].encode(), serialize(third))])
        wait_until(lambda: bool(landed.rows("SELECT FROM memory_landing")) or _is_at_the_end(system), "a landed row")
        wait_until_kv_is_at_the_end(system, worker)
        assert check_table_and_journal(system).outcomes() == {Outcome.APPLIED: 3}
        assert worker.terminated() == 0


def test_transactions_that_did_not_commit_are_left_out_and_their_markers_stop_nothing(landed: Landed) -> None:
    producer = Producer({
        "bootstrap.servers": landed.kafka, "transactional.id": landed.prefix, "partitioner": "murmur2_random",
    })  # fmt: skip
    producer.init_transactions(30)
    kept = [_event(new_id()) for _ in range(20)]
    for number, event in enumerate(kept):
        for each, commits in ((_event(new_id()), False), (event, True)):
            producer.begin_transaction()
            producer.produce(landed.prefix + EVENTS_TOPIC, serialize(each), each["id"])
            assert producer.flush(30) == 0  # an abort drops what is not sent, or meets a broker that knows of nothing
            producer.commit_transaction(30) if commits else producer.abort_transaction(30)
        if number == 10:
            landed.run_to_end("landing")
    with landed.library() as system:
        landed.run_to_end("landing")
        assert check_table_and_journal(system).outcomes() == {Outcome.APPLIED: len(kept)}
    check_same_as_kv(landed)


def test_kv_beside_it_does_no_harm(landed: Landed) -> None:
    with landed.library() as system:
        workers = [landed.start("consume", name) for name in ("landing", "kv", "landing")]
        for seed in range(4):
            append(system, Stream(seed), EVENTS // 4)
        for worker in workers:
            wait_until_kv_is_at_the_end(system, worker)
        assert [worker.terminated() for worker in workers] == [0, 0, 0]
        check_dead_letters(system, check_table_and_journal(system))
    check_same_as_kv(landed)


def test_landed_rows_may_be_kept_and_are_applied_once_all_the_same(landed: Landed) -> None:
    landed.choose(connect__applied="keep")
    with landed.library() as system:
        append(system, Stream(3), 300)
        landed.run_to_end("landing")
        append(system, Stream(4), 300)
        landed.run_to_end("landing")
        check_table_and_journal(system)
        wait_until(lambda: len(landed.rows("SELECT FROM memory_landing")) == 600, "600 rows")
        json = landed.rows("SELECT count(event), count(DISTINCT event->>'id') FROM memory_landing_events")[0]
    assert json[0] >= 595
    assert json[1] > 100


def test_one_applies_and_the_other_takes_over(landed: Landed) -> None:
    with landed.library() as system:
        first, second = landed.start("consume", "landing"), landed.start("consume", "landing")
        append(system, Stream(5), 200)
        wait_until_kv_is_at_the_end(system, first)
        wait_until(lambda: "standby" in first.stderr + second.stderr, "one that stands by")
        active, waiting = (first, second) if "standby" in second.stderr else (second, first)
        active.kill()
        append(system, Stream(6), 200)
        wait_until_kv_is_at_the_end(system, waiting)
        check_table_and_journal(system)


def _event(id: str) -> dict[str, Any]:
    return {
        "event_id": new_id(), "id": id, "namespace": "n", "type": "created", "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"z": 1, "a": 2.50, "text": "the order of keys stays"},
    }  # fmt: skip


def _long_after(seconds: float) -> None:
    """So much time, and a bit, in which nothing happens."""
    over = time.monotonic() + 1.2 * seconds
    wait_until(lambda: time.monotonic() > over, "the time")


def _with_nul(event: dict[str, Any]) -> bytes:
    return serialize(event).replace(b"stays", b"\\u0000")


def _wait_for(landed: Landed, id: str) -> None:
    wait_until(lambda: bool(landed.rows(f"SELECT FROM memories WHERE id = '{id}'")), f"the row of {id}")


def _is_at_the_end(system: Any) -> bool:
    log = system.adapters.log
    passed = system.adapters.store.positions(log.topic_id(EVENTS_TOPIC))
    return all(passed.get(number, 0) >= bounds.end for number, bounds in log.bounds(EVENTS_TOPIC).items())


def _connects_dead_letters(landed: Landed, wanted: int) -> list[Any]:
    """So many of them, or more where there are more; Connect makes the topic when it needs it.

    It does not wait for what it sends there, which is why none says something only once later records have landed.
    """
    topic = f"{landed.prefix}memory.connect.dlq"
    consumer = Consumer({"bootstrap.servers": landed.kafka, "group.id": landed.prefix, "auto.offset.reset": "earliest"})
    found: list[Any] = []

    def read() -> bool:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(message)
        return message is None and len(found) >= wanted

    try:
        if wanted:
            wait_until(lambda: topic in consumer.list_topics(timeout=10).topics, f"{topic} on the broker")
        elif topic not in consumer.list_topics(timeout=10).topics:
            return []
        consumer.assign([TopicPartition(topic, 0, 0)])
        wait_until(read, f"{wanted} records of {topic}")
    finally:
        consumer.close()
    return found
