"""Topics on Kafka: missing ones, other policies than soma's, and one that was made anew."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import LogSettings
from tests.contracts.event_logs import of_one_key
from tests.contracts.kafka_logs import alter, from_beginning
from tests.contracts.kafka_logs import log as log
from tests.contracts.kafka_logs import settings as settings
from tests.contracts.processes import until
from tests.services import kafka_address


def test_a_missing_topic_names_init() -> None:
    log = KafkaEventLog(LogSettings(kind="kafka", bootstrap_servers=kafka_address(), topic_prefix="nobody-made-this."))
    for call in (
        lambda: log.append(of_one_key(1)),
        lambda: log.bounds(EVENTS_TOPIC),
        lambda: log.topic_id(EVENTS_TOPIC),
        lambda: log.consumer("g", EVENTS_TOPIC, from_beginning),
    ):
        with pytest.raises(ConfigurationError, match="soma init") as found:
            call()
        assert found.value.code == "topic_missing"
    assert log.topics() == []
    assert {finding.status for finding in log.health()} == {"ok", "error"}
    log.close()


def test_what_differs_is_told_and_left_alone(settings: LogSettings, log: KafkaEventLog) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    alter(admin, settings.topic_prefix + EVENTS_TOPIC, "cleanup.policy", "delete")
    other = KafkaEventLog(replace(settings, partitions=4))
    until(lambda: any("cleanup.policy" in finding.message for finding in other.provision().differing))
    found = {finding.message: finding for finding in other.provision().differing}
    [policy] = [finding for message, finding in found.items() if "cleanup.policy" in message]
    assert policy.check == f"topic {EVENTS_TOPIC}"
    assert policy.status == "error"
    assert "kafka-configs.sh" in policy.hint
    assert settings.topic_prefix + EVENTS_TOPIC in policy.hint
    assert any("3 partitions" in message for message in found)
    assert len(log.bounds(EVENTS_TOPIC)) == 3
    other.close()


def test_the_compaction_lag_is_the_topic_s_of_now_with_a_margin(settings: LogSettings, log: KafkaEventLog) -> None:
    def age_s() -> float:
        return time.time() - (log.compacted_before(EVENTS_TOPIC) or 0) / 1e6

    assert age_s() == pytest.approx(7 * 86400 - 3600, abs=5)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    alter(admin, settings.topic_prefix + EVENTS_TOPIC, "min.compaction.lag.ms", "60000")
    until(lambda: age_s() < 86400)
    assert age_s() == pytest.approx(30, abs=5)


def test_a_topic_made_anew_has_another_id(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    before = log.topic_id(EVENTS_TOPIC)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    for future in admin.delete_topics([settings.topic_prefix + EVENTS_TOPIC]).values():
        future.result(10)
    until(lambda: EVENTS_TOPIC not in log.topics())
    assert log.topic_id(EVENTS_TOPIC, anew=True) == before
    other = KafkaEventLog(settings)
    assert other.provision().created == [f"topic {EVENTS_TOPIC}"]
    other.close()
    assert log.topic_id(EVENTS_TOPIC) == before, "remembered"
    found = log.topic_id(EVENTS_TOPIC, anew=True)
    assert found not in ("", before)
    assert log.topic_id(EVENTS_TOPIC) == found
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    assert log.topic_id(EVENTS_TOPIC) == found
    consumer.close()
