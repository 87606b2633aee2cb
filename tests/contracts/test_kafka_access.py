"""What brokers with TLS, passwords and access lists refuse, as the adapter tells it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.adapters.event_log.kafka_producer import KafkaAppender
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError
from soma_cli.core.ports import Copier, Run
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings, SecuritySettings
from tests.contracts.events import everything, new_record
from tests.contracts.processes import until
from tests.services import KafkaCluster

PREFIX = "a."
WORKER_RIGHTS = [
    (ResourceType.TOPIC, PREFIX, AclOperation.READ),
    (ResourceType.TOPIC, PREFIX, AclOperation.WRITE),
    (ResourceType.TOPIC, PREFIX, AclOperation.DESCRIBE_CONFIGS),
    (ResourceType.GROUP, "w-", AclOperation.READ),
    (ResourceType.TRANSACTIONAL_ID, "w-", AclOperation.WRITE),
]
"""What the documents say that a worker needs."""
RIGHTS = {
    "worker": WORKER_RIGHTS,
    "reader": [WORKER_RIGHTS[0]],
    "untransacted": [*WORKER_RIGHTS[:4]],
    "guest": [],
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    with KafkaCluster(users=dict.fromkeys(RIGHTS, "right")) as cluster:
        log = KafkaEventLog(LogSettings("kafka", cluster.open_address, 1, 1, PREFIX, timeout_s=20))
        log.provision()
        log.append([new_record(1, number) for number in range(3)])
        log.close()
        grant(cluster)
        until(lambda: may_read(cluster))  # the controller has taken the rights; the broker hears of them a moment later
        yield cluster


def grant(cluster: KafkaCluster) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.open_address})
    made = admin.create_acls(
        [
            AclBinding(
                kind, name, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW
            )
            for user, rights in RIGHTS.items()
            for kind, name, operation in rights
        ]
    )
    for future in made.values():
        future.result(20)


def may_read(cluster: KafkaCluster) -> bool:
    with suppress(ConfigurationError), closing(KafkaEventLog(settings_of(cluster, "worker"))) as log:
        return bool(log.bounds(EVENTS_TOPIC))
    return False


def settings_of(cluster: KafkaCluster, user: str, timeout_s: float = 8.0) -> LogSettings:
    assert cluster.access is not None
    security = SecuritySettings("SASL_SSL", "SCRAM-SHA-256", user, "right", ca_file=cluster.access.certificate)
    return LogSettings(
        "kafka", cluster.address, 1, 1, PREFIX, timeout_s=timeout_s, session_timeout_s=6.0, security=security
    )


@pytest.fixture
def open_as(guarded: KafkaCluster) -> Iterator[Callable[[str], KafkaEventLog]]:
    opened: list[KafkaEventLog] = []

    def open_log(user: str) -> KafkaEventLog:
        opened.append(KafkaEventLog(settings_of(guarded, user)))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


def group() -> str:
    return f"w-{uuid.uuid4().hex[:12]}"


def at_beginning(partition: int) -> int:
    return 0


def polled(copier: Copier) -> int:
    runs: list[Run] = []

    def came() -> bool:
        with suppress(ServiceUnavailable):
            runs.extend(copier.poll(2, 0.2))
        return bool(runs)

    until(came)
    copier.publish([NewRecord(AUDIT_TOPIC, b"k", b"copy", partition=0)], {run.partition: run.end for run in runs})
    return sum(len(run.records) for run in runs)


def test_these_rights_suffice_for_a_worker(open_as: Callable[[str], KafkaEventLog]) -> None:
    log = open_as("worker")
    assert log.append([new_record(1, 3)])
    assert len(everything(log)) >= 4
    name = group()
    copier = log.copier(name, EVENTS_TOPIC, at_beginning)
    assert polled(copier) > 0
    until(lambda: 0 in log.committed(name, EVENTS_TOPIC))  # once the marker of the transaction is written
    assert log.committed(name, EVENTS_TOPIC)[0].offset > 0
    assert log.members(name) == 1
    copier.close()
    assert {finding.status for finding in log.health()} == {"ok"}


@pytest.mark.parametrize("one_shot", [True, False])
@pytest.mark.parametrize("count", [1, 200])
def test_a_topic_that_may_not_be_written(guarded: KafkaCluster, one_shot: bool, count: int) -> None:
    log = KafkaEventLog(settings_of(guarded, "reader"), one_shot=one_shot)
    with pytest.raises(ConfigurationError, match=r"no right.*") as found:
        log.append([new_record(1, number) for number in range(count)])
    assert found.value.code == "not_authorized"
    assert "Write" in found.value.hint
    assert found.value.details.get("uncertain", False) is False
    log.close()


@pytest.mark.parametrize("count", [1, 200])
def test_a_refusal_that_comes_before_the_first_record_is_sent(guarded: KafkaCluster, count: int) -> None:
    """The client hears of it in the background; from then on it takes no record, and says why only when polled."""
    log = KafkaEventLog(settings_of(guarded, "reader"))
    with pytest.MonkeyPatch.context() as patch:
        look = KafkaAppender._reach

        def slow(*arguments: object) -> None:
            look(*arguments)  # type: ignore[arg-type]
            time.sleep(1)

        patch.setattr(KafkaAppender, "_reach", slow)
        with pytest.raises(ConfigurationError, match="no right") as found:
            log.append([new_record(1, number) for number in range(count)])
    assert found.value.code == "not_authorized"
    assert found.value.details["uncertain"] is False
    log.close()


@pytest.mark.parametrize(
    ("user", "call", "needed"),
    [
        ("guest", lambda log: log.append([new_record(1, 1)]), "the topic"),
        ("guest", lambda log: log.bounds(EVENTS_TOPIC), "the topic"),
        ("guest", lambda log: list(log.scan(EVENTS_TOPIC, 0, 0, 1)), "the topic"),
        ("guest", lambda log: log.consumer(group(), EVENTS_TOPIC, at_beginning), "the topic"),
        ("reader", lambda log: log.consumer(group(), EVENTS_TOPIC, at_beginning).poll(1, 10), "the consumer group"),
        ("worker", lambda log: log.consumer("other", EVENTS_TOPIC, at_beginning).poll(1, 10), "the consumer group"),
        ("reader", lambda log: log.committed("w-any", EVENTS_TOPIC), "the consumer group"),
        ("untransacted", lambda log: polled(log.copier(group(), EVENTS_TOPIC, at_beginning)), "the transactional id"),
    ],
    ids=["append", "bounds", "scan", "consumer", "group", "other-group", "committed", "transaction"],
)
def test_a_right_that_is_missing_is_named(
    open_as: Callable[[str], KafkaEventLog], user: str, call: Callable[[KafkaEventLog], object], needed: str
) -> None:
    with pytest.raises(ConfigurationError) as found:
        call(open_as(user))
    assert found.value.code == "not_authorized", found.value.message
    assert needed in found.value.hint


def test_health_names_missing_rights(open_as: Callable[[str], KafkaEventLog]) -> None:
    findings = [finding for finding in open_as("reader").health() if finding.check == f"topic {EVENTS_TOPIC}"]
    assert any("lacks Write" in finding.message for finding in findings), findings


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong"},
        {"username": "nobody"},
        {"mechanism": "SCRAM-SHA-512"},
        {"mechanism": "PLAIN"},
        {"ca_file": None},
        {"ca_file": Path("/no/such/file.pem")},
        {"protocol": "SASL_PLAINTEXT"},
        {"protocol": "PLAINTEXT", "mechanism": None},
    ],
    ids=["password", "user", "mechanism", "plain", "authority", "file", "no-tls", "plaintext"],
)
def test_a_refused_login_is_a_wrong_setting(guarded: KafkaCluster, wrong: dict[str, object]) -> None:
    right = settings_of(guarded, "worker", timeout_s=3)
    log = KafkaEventLog(replace(right, security=replace(right.security, **wrong)))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as found:
        log.append([new_record(1, 1)])
    assert "log.security" in found.value.hint
    assert "right" not in found.value.message.split()
    log.close()


def test_tls_to_a_listener_that_has_none(guarded: KafkaCluster) -> None:
    settings = replace(settings_of(guarded, "worker", timeout_s=3), bootstrap_servers=guarded.open_address)
    log = KafkaEventLog(settings)
    with pytest.raises((ConfigurationError, ServiceUnavailable)) as found:
        log.append([new_record(1, 1)])
    assert isinstance(found.value, SomaError)
    assert "log.security" in found.value.hint
    log.close()
