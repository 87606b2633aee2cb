"""`soma init` on a cluster: once, twice, two at a time; what differs is told and left as it is; a topic made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from soma_cli.core.adapters.event_log.kafka_cluster import TOPICS
from tests.e2e.cluster_cli.faults import Installation, error_of, failed
from tests.e2e.conftest import wait_until
from tests.services import kafka_address, postgres_dsn

LAG_MS = 7 * 86400 * 1000


@pytest.fixture
def admin() -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_address()})


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Installation]:
    soma = Installation(tmp_path, kafka_address(), postgres_dsn())
    yield soma
    soma.kill_all()


def configs(admin: AdminClient, soma: Installation) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, soma.prefix + topic) for topic in TOPICS]
    found = admin.describe_configs(asked)
    return {
        resource.name: {name: str(entry.value) for name, entry in future.result(20).items()}
        for resource, future in found.items()
    }


def make(admin: AdminClient, *topics: NewTopic) -> None:
    """The controller answers; the broker that is asked next hears of it a moment later."""
    for made in admin.create_topics([*topics]).values():
        made.result(20)
    names = {topic.topic for topic in topics}
    wait_until(lambda: names <= set(admin.list_topics(timeout=10).topics), "the topics")


def test_a_second_run_changes_nothing_and_says_so(fresh: Installation, admin: AdminClient) -> None:
    first = json.loads(fresh.inline("init", "-o", "json").stdout)
    assert {f"topic {topic}" for topic in TOPICS} <= set(first["created"])
    before = configs(admin, fresh)
    second = json.loads(fresh.inline("init", "-o", "json").stdout)
    assert (second["created"], second["epoch"], second["topic_id"]) == ([], 0, first["topic_id"])
    assert set(second["existing"]) == {*first["created"], *first["existing"]}
    assert configs(admin, fresh) == before
    assert "nothing to make: everything is there already" in fresh.inline("init").stdout


def test_two_at_once(fresh: Installation) -> None:
    runs = [fresh.start("init", "-o", "json") for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0], [run.stderr for run in runs]
    made = [set(json.loads(run.stdout)["created"]) for run in runs]
    assert {f"topic {topic}" for topic in TOPICS} <= made[0] | made[1]
    assert len({json.loads(run.stdout)["topic_id"] for run in runs}) == 1


def test_more_replicas_than_brokers(fresh: Installation) -> None:
    code, error = failed(fresh, ["init"], {"SOMA_LOG__REPLICATION_FACTOR": "3"})
    assert (code, error["code"]) == (3, "too_few_brokers")
    assert "making the topic" in error["message"]
    assert "log.replication_factor" in error["hint"]


def test_what_differs_is_told_and_left(fresh: Installation, admin: AdminClient) -> None:
    events = fresh.prefix + "memory.events"
    wrong = {"cleanup.policy": "delete", "min.compaction.lag.ms": "1000", "message.timestamp.type": "CreateTime"}
    make(admin, NewTopic(events, 5, 1, config=wrong))
    done = fresh.inline("init", "-o", "json")
    assert done.returncode == 7
    assert error_of(done)["code"] == "differs"
    told = {finding["message"]: finding["hint"] for finding in json.loads(done.stdout)["differing"]}
    assert any("it has 5 partitions, log.partitions says 2" in message for message in told)
    for key, right in (
        ("cleanup.policy", "compact"),
        ("min.compaction.lag.ms", str(LAG_MS)),
        ("message.timestamp.type", "LogAppendTime"),
    ):
        mend = told[f"{key} is {wrong[key]}, not {right}"]
        assert f"kafka-configs.sh --bootstrap-server {kafka_address()} --alter" in mend
        assert f"--entity-name {events} --add-config {key}={right}" in mend
    assert configs(admin, fresh)[events].items() >= wrong.items()
    looked = fresh.inline("doctor")
    assert looked.returncode == 7
    assert "cleanup.policy is delete, not compact" in looked.stdout

    mended = ConfigResource(ResourceType.TOPIC, events)
    right_ones = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(LAG_MS),
        "message.timestamp.type": "LogAppendTime",
    }
    for key, value in right_ones.items():
        mended.add_incremental_config(ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))
    admin.incremental_alter_configs([mended])[mended].result(20)
    wait_until(lambda: configs(admin, fresh)[events].items() >= right_ones.items(), "the topic's new policies")
    again = fresh.inline("init", "-o", "json", env={"SOMA_LOG__PARTITIONS": "5"})
    left = [
        found["message"] for found in json.loads(again.stdout)["differing"] if found["check"] == "topic memory.events"
    ]
    assert not any(message.startswith((*wrong, "it has")) for message in left), left


def test_copies_that_events_do_not_fit_in(fresh: Installation, admin: AdminClient) -> None:
    """Two topics made by hand: one with fewer partitions than the events, one for shorter records."""
    audit, events, latest = (fresh.prefix + name for name in ("memory.audit", "memory.events", "memory.latest"))
    right = {"cleanup.policy": "delete", "retention.ms": "-1"}
    large = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(LAG_MS), "max.message.bytes": str(20 << 20)}
    new = [
        NewTopic(audit, 1, 1, config=right),
        NewTopic(events, 3, 1, config=large),
        NewTopic(latest, 3, 1, config={"cleanup.policy": "compact", "max.message.bytes": str(10 << 20)}),
    ]
    make(admin, *new)
    env = {"SOMA_LOG__PARTITIONS": "3"}
    for done in (fresh.inline("init", "-o", "json", env=env), fresh.inline("doctor", "-o", "json", env=env)):
        assert done.returncode == 7
        report = json.loads(done.stdout)
        told = {
            (found["check"], found["message"]): (found["status"], found["hint"])
            for found in report.get("differing", report.get("findings"))
        }
        fewer = "it has 1 partition, memory.events has 3: what lies in others cannot be copied"
        assert told["topic memory.audit", fewer] == (
            "error",
            f"kafka-topics.sh --bootstrap-server {kafka_address()} --alter --topic {audit} --partitions 3",
        )
        for topic, found in (("memory.audit", 1048588), ("memory.latest", 10 << 20)):
            status, mend = told[f"topic {topic}", f"max.message.bytes is {found}, not {22 << 20}"]
            assert status == "error"
            assert mend.endswith(f"--entity-name {fresh.prefix}{topic} --add-config max.message.bytes={22 << 20}")
    largest = {name: int(config["max.message.bytes"]) for name, config in configs(admin, fresh).items()}
    assert largest[fresh.prefix + "memory.dlq"] == 22 << 20, "made by init, with room for what events may be"


def test_copies_are_made_as_the_events_are(fresh: Installation, admin: AdminClient) -> None:
    """Also where log.partitions says otherwise; that is told of the events alone."""
    events = fresh.prefix + "memory.events"
    make(admin, NewTopic(events, 3, 1, config={"cleanup.policy": "compact"}))
    assert fresh.inline("init").returncode == 7
    topics = admin.list_topics(timeout=20).topics
    counts = {name: len(topics[fresh.prefix + name].partitions) for name in ("memory.audit", "memory.latest")}
    assert counts == {"memory.audit": 3, "memory.latest": 3}


def test_a_topic_that_was_made_anew(cluster: Installation, admin: AdminClient) -> None:
    """Everybody stops; `init --new-epoch` accepts it, and history goes over both."""
    id = json.loads(cluster.inline("store", "--text", "before", "-o", "json").stdout)["id"]
    assert cluster.inline("consume", "kv", "--until-end").returncode == 0
    events = cluster.prefix + "memory.events"
    admin.delete_topics([events])[events].result(20)
    wait_until(lambda: events not in admin.list_topics(timeout=10).topics, "the topic gone")
    assert failed(cluster, ["lag"], {})[1]["code"] == "topic_missing"
    make(admin, NewTopic(events, 2, 1, config={"cleanup.policy": "compact"}))

    for arguments in (["lag"], ["history", id], ["consume", "kv"], ["init"], ["replay"]):
        code, error = failed(cluster, arguments, {})
        assert (code, error["code"]) == (3, "log_replaced"), arguments
        assert "--new-epoch" in error["hint"]
    assert "--new-epoch" in cluster.inline("doctor").stdout

    accepted = cluster.inline("init", "--new-epoch", "-o", "json")
    assert accepted.returncode == 7, "the new topic's policies differ"
    assert (json.loads(accepted.stdout)["epoch"], json.loads(accepted.stdout)["new_epoch"]) == (1, True)
    assert cluster.inline("update", id, "--text", "after").returncode == 0
    assert cluster.inline("consume", "kv", "--until-end").returncode == 0
    rows = json.loads(cluster.inline("history", id, "-o", "json").stdout)
    assert [(row["type"], row["outcome"]) for row in rows] == [("created", "applied"), ("updated", "applied")]
    memory = json.loads(cluster.inline("get", id, "-o", "json").stdout)
    assert memory["payload"] == {"text": "after"}
    assert memory["version"] >= 1 << 40
