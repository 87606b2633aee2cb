"""What `lag` and `doctor` say of events that nobody can read, and of partitions that nobody reads."""

from __future__ import annotations

import json
import uuid
from typing import Any

from confluent_kafka import Consumer, Producer

from tests.e2e.cluster_cli.faults import Installation
from tests.e2e.conftest import wait_until
from tests.services import kafka_address


def lag(soma: Installation) -> dict[str, Any]:
    done = soma.inline("lag", "-o", "json")
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_what_an_open_transaction_holds_back_counts(cluster: Installation) -> None:
    foreign = Producer({"bootstrap.servers": kafka_address(), "transactional.id": f"t-{uuid.uuid4()}"})
    foreign.init_transactions(30)
    foreign.begin_transaction()
    foreign.produce(cluster.prefix + "memory.events", b"open", b"k", 1)
    assert foreign.flush(30) == 0
    report = lag(cluster)
    assert {group["lag"] for group in report["groups"]} == {0}
    [held] = report["held_back"]
    assert (held["topic"], held["partition"], held["offsets"]) == ("memory.events", 1, 1)
    assert held["oldest_age_s"] is not None
    assert 0 <= held["oldest_age_s"] < 60
    for threshold, code in (("0", 7), ("1", 0)):
        assert cluster.inline("lag", "--threshold", threshold).returncode == code
    for age, code in (("0s", 7), ("1h", 0)):
        assert cluster.inline("lag", "--max-age", age).returncode == code
    assert "memory.events/1: an open transaction holds back 1 event from all readers" in cluster.inline("lag").stderr
    foreign.abort_transaction(30)
    wait_until(lambda: '"held_back":[]' in cluster.inline("lag", "-o", "json").stdout, "nothing held back")


def test_a_group_whose_members_leave_partitions_out_is_not_called_active(cluster: Installation) -> None:
    other = {"bootstrap.servers": kafka_address(), "group.id": f"{cluster.prefix}{cluster.group('kv')}"}
    stranger = Consumer({**other, "partition.assignment.strategy": "cooperative-sticky"})
    stranger.subscribe([cluster.prefix + "memory.latest"])

    def joined() -> bool:
        stranger.poll(0.1)
        return len(stranger.assignment()) == 2

    wait_until(joined, "the stranger in the group")
    kv = next(group for group in lag(cluster)["groups"] if group["group"].endswith("-kv"))
    assert (kv["state"], kv["unserved"]) == ("unserved", [0, 1])
    assert "workers run, but none has partition 0, 1" in cluster.inline("lag").stderr
    looked = json.loads(cluster.inline("doctor", "-o", "json").stdout)
    [told] = [found for found in looked["findings"] if found["check"] == "kv"]
    assert told["status"] == "warning"
    assert "none has partition 0, 1 of memory.events" in told["message"]
    worker = cluster.start("consume", "kv")
    worker.says("kv idle")
    stranger.close()
    assert worker.terminated() == 0
