"""`soma schema check --against log` on Kafka: every partition, whoever wrote it, and servers that are away."""

from __future__ import annotations

import json
from pathlib import Path

from confluent_kafka import Producer

from tests.cli.schema_folder import ROOT, write
from tests.e2e.cluster_cli.faults import Installation, failed
from tests.services import kafka_address

EVENTS = 40


def test_events_of_all_partitions_are_held_against_the_schema(cluster: Installation, tmp_path: Path) -> None:
    lines = "".join(
        json.dumps({"payload": {"text": f"memory {number}"}, "importance": 1 + number % 2 * 10}) + "\n"
        for number in range(EVENTS)
    )
    memories = tmp_path / "memories.jsonl"
    memories.write_text(lines, encoding="utf-8")
    assert cluster.inline("produce", str(memories)).returncode == 0
    foreign = Producer({"bootstrap.servers": kafka_address()})
    foreign.produce(f"{cluster.prefix}memory.events", key=b"theirs", value=b"not JSON")
    assert foreign.flush(30) == 0

    schema = json.loads((ROOT / "schemas/memory.event.json").read_text(encoding="utf-8"))
    schema["properties"]["importance"] = {"type": "number", "maximum": 10}
    narrower = write(tmp_path / "narrower.json", schema)
    done = cluster.inline("schema", "check", str(narrower), "--against", "log", "-o", "json")
    assert done.returncode == 7, done.stderr
    subject = json.loads(done.stdout)["subjects"][0]
    assert (subject["events"], subject["refused"]) == (EVENTS + 1, EVENTS // 2 + 1)
    counts = {one["pointer"]: one["count"] for one in subject["violations"]}
    assert counts == {"/properties/importance/maximum": EVENTS // 2, "": 1}


def test_brokers_that_are_away(made: Installation) -> None:
    fault = {"SOMA_LOG__BOOTSTRAP_SERVERS": "127.0.0.1:9", "SOMA_LOG__TIMEOUT_S": "1"}
    code, error = failed(made, ["schema", "check", "--against", "log"], fault)
    assert code == 4
    assert "127.0.0.1:9" in error["message"]
