"""Bad records that other writers put into `memory.events`: to the dead letters as they were, neighbours unharmed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from confluent_kafka.cimpl import murmur2

from soma_cli.core.eventing.audit import audit_gap
from soma_cli.core.instants import now_us
from soma_cli.core.record import EVENTS_TOPIC
from tests.e2e.cluster_servers.projections import (
    ClusterSoma,
    Expected,
    check_copies,
    check_everything,
    events_of,
    passed_by_all,
    wait_until,
)

PARTITIONS = 3
HEADERS = [("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b""), ("null", None)]


def event(id: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "id": id,
        "namespace": "foreign",
        "type": "created",
        "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"text": f"memory {id}"},
        **fields,
    }


def raw(id: str, **fields: Any) -> bytes:
    return json.dumps(event(id, **fields)).encode()


def bad_records() -> list[tuple[str, bytes | None, bytes | None, int | None]]:
    """Code of the rejection, key, value, and the partition where it is not the key's."""

    def of(code: str, make: Callable[[str], bytes | None]) -> tuple[str, bytes | None, bytes | None, int | None]:
        id = str(uuid4())
        return code, id.encode(), make(id), None

    other = str(uuid4())
    wrong = (murmur2(other.encode(), PARTITIONS) + 1) % PARTITIONS
    upper = str(uuid4()).upper()
    return [
        of("not_json", lambda id: b"\xff\xfe not json"),
        of("not_json", lambda id: b""),
        of("schema", lambda id: b"[1, 2]"),
        of("schema", lambda id: raw(id, type="merged")),
        of("schema", lambda id: raw(id, payload="text")),
        of("null_value", lambda id: None),
        of("not_json", lambda id: b"x" * 2_000_000),
        of("schema", lambda id: raw(id, type="merged", payload={"text": "y" * 2_000_000})),
        of("null_character", lambda id: raw(id, payload={"text": "nul \x00 inside"})),
        of("nan_or_infinity", lambda id: raw(id, payload={"n": float("nan")})),
        of("duplicate_key", lambda id: raw(id, payload={"n": 1}).replace(b'"n": 1', b'"n": 1, "n": 2')),
        of("lone_surrogate", lambda id: raw(id, payload={"text": "\ud800"})),
        of("integer_range", lambda id: raw(id, payload={"n": 2**64})),
        ("id_not_canonical", upper.encode(), raw(upper), None),
        ("key_mismatch", str(uuid4()).encode(), raw(str(uuid4())), None),
        ("wrong_partition", other.encode(), raw(other), wrong),
    ]


class ForeignWriter:
    """A producer that is none of soma's, and checks nothing."""

    def __init__(self, soma: ClusterSoma, **settings: Any) -> None:
        servers = soma.settings["SOMA_LOG__BOOTSTRAP_SERVERS"]
        large = {"message.max.bytes": 8_000_000, "partitioner": "murmur2_random", "linger.ms": 5}
        self.producer = Producer({"bootstrap.servers": servers, **large, **settings})
        self._topic = soma.topic(EVENTS_TOPIC)
        self.failures: list[str] = []

    def write(self, key: bytes | None, value: bytes | None, partition: int | None = None) -> None:
        where = -1 if partition is None else partition
        self.producer.produce(self._topic, value, key, where, self._told, headers=[*HEADERS])

    def good(self, count: int) -> list[str]:
        ids = [str(uuid4()) for _ in range(count)]
        for id in ids:
            self.write(id.encode(), raw(id))
        return ids

    def done(self) -> None:
        assert self.producer.flush(30) == 0
        assert self.failures == []

    def _told(self, error: object, message: object) -> None:
        if error is not None:
            self.failures.append(str(error))


def test_each_lands_in_the_dead_letters_as_it_was_and_its_neighbours_are_applied(cluster: ClusterSoma) -> None:
    worker = cluster.start("consume", "all")
    writer, bad, good = ForeignWriter(cluster), bad_records(), list[str]()
    for _, key, value, partition in bad:
        good += writer.good(2)
        writer.write(key, value, partition)
    good += writer.good(2)
    writer.done()
    with cluster.system() as system:
        passed_by_all(cluster, system, worker)
        expected = check_everything(cluster, system, letters=len(bad))
        assert expected.outcomes() == {"applied": len(good), "rejected": len(bad), "duplicate": 0, "ignored": 0}
        letters = {letter["value_base64"]: letter for letter in cluster.json("dlq", "list")}
        for code, key, value, _ in bad:
            letter = letters[None if value is None else base64.b64encode(value).decode()]
            assert (letter["code"], letter["key"], letter["worker"]) == (code, (key or b"").decode(), "kv")
            assert [(item["key"], item["value"]) for item in letter["headers"]] == [
                (name, None if content is None else content.decode(errors="replace")) for name, content in HEADERS
            ]
        assert [entry["outcome"] for entry in cluster.json("history", good[0])] == ["applied"]
    assert worker.terminated() == 0


def test_markers_of_foreign_transactions_are_no_records_and_hold_nothing_up(cluster: ClusterSoma) -> None:
    worker = cluster.start("consume", "all")
    writer = ForeignWriter(cluster, **{"transactional.id": cluster.topic("foreign")})
    writer.producer.init_transactions(30)
    good: list[str] = []
    for number in range(6):
        writer.producer.begin_transaction()
        ids = writer.good(10)
        writer.write(ids[0].encode(), b"bad")
        writer.done()  # else aborting drops what is unsent, or meets the broker before it knows of the transaction
        if number % 2:
            writer.producer.abort_transaction(30)
        else:
            writer.producer.commit_transaction(30)
            good += ids
    with cluster.system() as system:
        passed_by_all(cluster, system, worker)
        expected = check_everything(cluster, system, letters=3)
        assert set(expected.states) == set(good)
        ends = sum(bounds.end for bounds in system.adapters.log.bounds(EVENTS_TOPIC).values())
        assert ends >= 6 * (11 + 1), "what was aborted lies in the log, too"
        assert audit_gap(system.adapters.log, now_us() + 1_000_000) == {}, "markers at the end are no events"
    lag = cluster.inline("lag", "--threshold", "0", "-o", "json")
    assert lag.returncode == 0, lag.stdout + lag.stderr
    assert worker.terminated() == 0


def test_a_dimension_that_is_not_the_index_s_is_a_dead_letter_of_vector(cluster: ClusterSoma) -> None:
    worker = cluster.start("consume", "all")
    writer, ids = ForeignWriter(cluster), [str(uuid4()) for _ in range(3)]
    with cluster.system() as system:
        for id, length in zip(ids, (3, 4, 3), strict=True):
            writer.write(id.encode(), raw(id, embedding=[1.0] * length, model_revision="m1"))
            writer.done()
            passed_by_all(cluster, system, worker)
        check_everything(cluster, system, letters=1)
        dense = {point.id: point.dense for point in system.adapters.index.scan()}
        assert dense == {ids[0]: True, ids[1]: False, ids[2]: True}
    (letter,) = cluster.json("dlq", "list")
    assert (letter["worker"], letter["code"], letter["key"]) == ("vector", "wrong_dimension", ids[1])
    assert worker.terminated() == 0


def test_letters_are_retried_and_discarded(cluster: ClusterSoma) -> None:
    """A record in a wrong partition is a good event in the wrong place: sent again, it is applied."""
    worker = cluster.start("consume", "kv")
    writer, id = ForeignWriter(cluster), str(uuid4())
    value = raw(id)
    writer.write(id.encode(), value, (murmur2(id.encode(), PARTITIONS) + 1) % PARTITIONS)
    writer.write(str(uuid4()).encode(), b"hopeless")
    writer.done()
    wait_until(lambda: cluster.query("SELECT count(*) FROM memory_events") == [(2,)], "both rejected", worker)
    letters = {letter["code"]: letter["source"] for letter in cluster.json("dlq", "list")}
    assert cluster.inline("dlq", "retry", letters["not_json"]).returncode == 5
    retried = cluster.json("dlq", "retry", letters["wrong_partition"])
    assert cluster.json("get", id)["payload"] == json.loads(value)["payload"], retried
    assert [letter["attempts"] for letter in cluster.json("dlq", "list")] == [2]
    cluster.json("dlq", "discard", letters["not_json"])
    assert cluster.json("dlq", "list") == []
    assert worker.terminated() == 0


def test_a_storm_of_bad_records_stops_kv_and_goes_on_when_told_to(cluster: ClusterSoma) -> None:
    writer = ForeignWriter(cluster)
    good = writer.good(20)
    for _ in range(100):
        writer.write(b"one key, one partition", b"bad")
    good += writer.good(20)
    writer.done()
    stopped = cluster.run("consume", "kv", "--until-end")
    assert stopped.returncode == 7
    assert "more than 50 records in a row were rejected" in stopped.stderr
    assert "--max-rejects 0" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    again = cluster.inline("consume", "kv", "--until-end")
    assert again.returncode == 7, "a restart does not drain the topic bit by bit"
    assert cluster.query("SELECT count(*) FROM memory_events WHERE outcome = 'rejected'") == [(50,)]
    assert cluster.inline("consume", "kv", "--until-end", "--max-rejects", "0").returncode == 0
    with cluster.system() as system:
        expected = Expected(system.adapters.log, events_of(system.adapters.log))
        assert set(expected.states) == set(good)
        assert {state.id for state in system.adapters.store.scan_states()} == set(good)
    assert len(cluster.json("dlq", "list")) == 100


def test_a_record_without_a_key_is_refused_by_the_broker(cluster: ClusterSoma) -> None:
    """A compacted topic takes none: nothing of it reaches the workers."""
    writer = ForeignWriter(cluster)
    writer.write(None, raw(str(uuid4())))
    assert writer.producer.flush(30) == 0
    assert len(writer.failures) == 1
    with cluster.system() as system:
        assert events_of(system.adapters.log) == []
        check_copies(system, Expected(system.adapters.log, []))
