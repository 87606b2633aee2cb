"""Brokers that are away or silent: they are named in time, an unknown outcome is told, and work goes on afterwards."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.record import EVENTS_TOPIC, Record
from soma_cli.core.settings import LogSettings
from tests.contracts.event_logs import drain, of_one_key, records_of
from tests.contracts.events import everything
from tests.contracts.kafka_logs import batch, copy, copy_until, from_beginning, many, published
from tests.contracts.processes import until
from tests.services import KafkaCluster


@pytest.fixture(scope="module")
def own_broker() -> Iterator[KafkaCluster]:
    """A broker that a test may stop; its controller does not put it out meanwhile."""
    with KafkaCluster(settings={"broker.session.timeout.ms": "60000"}) as cluster:
        yield cluster


@pytest.fixture
def paused(own_broker: KafkaCluster) -> Iterator[KafkaCluster]:
    """The same; it goes on after the test."""
    yield own_broker
    own_broker.resume()


def own(cluster: KafkaCluster, timeout_s: float = 3.0) -> LogSettings:
    settings = LogSettings(
        kind="kafka",
        bootstrap_servers=cluster.address,
        partitions=3,
        replication_factor=1,
        topic_prefix=f"{uuid.uuid4().hex[:8]}.",
        timeout_s=timeout_s,
        session_timeout_s=6.0,
    )
    log = KafkaEventLog(replace(settings, timeout_s=20))
    log.provision()
    log.close()
    return settings


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["nobody", "silent"])
@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append(of_one_key(1)),
        lambda log: log.bounds(EVENTS_TOPIC),
        lambda log: list(log.scan(EVENTS_TOPIC, 0, 0, 1)),
        lambda log: log.provision(),
        lambda log: log.consumer("g", EVENTS_TOPIC, from_beginning),
    ],
    ids=["append", "bounds", "scan", "provision", "consumer"],
)
def test_brokers_that_are_away_are_named_in_time(
    request: pytest.FixtureRequest, kind: str, call: Callable[[KafkaEventLog], object]
) -> None:
    address = request.getfixturevalue(kind)
    log = KafkaEventLog(LogSettings(kind="kafka", bootstrap_servers=address, timeout_s=0.6))
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=address) as found:
        call(log)
    assert time.monotonic() - began < 15
    assert "log.bootstrap_servers" in found.value.hint
    assert found.value.details.get("uncertain", False) is False
    log.close()


def test_health_tells_that_brokers_are_away(nobody: str) -> None:
    log = KafkaEventLog(LogSettings(kind="kafka", bootstrap_servers=nobody, timeout_s=0.6))
    [finding] = log.health()
    assert finding.status == "error"
    assert nobody in finding.message
    log.close()


@pytest.mark.parametrize("one_shot", [True, False])
def test_a_send_without_an_answer_is_uncertain(paused: KafkaCluster, one_shot: bool) -> None:
    settings = own(paused)
    log = KafkaEventLog(settings, one_shot=one_shot)
    log.append(of_one_key(1))
    paused.pause()
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="outcome is unknown") as found:
        log.append(of_one_key(2)[1:])
    assert time.monotonic() - began < 15
    assert found.value.details["uncertain"] is True
    with pytest.raises(ServiceUnavailable) as found:
        log.append(of_one_key(2)[1:])
    assert found.value.details["uncertain"] is False, "now it is known beforehand that nobody answers"
    paused.resume()
    until(lambda: _works(log))
    values = [item.value for item in everything(log)]
    known, unknown = (record.value for record in of_one_key(2))
    assert values[0] == known
    assert values.count(unknown) <= 1, "the first of the two may be there, the second is not"
    log.close()


def _works(log: KafkaEventLog) -> bool:
    with suppress(ServiceUnavailable):
        return bool(log.append(of_one_key(1)))
    return False


@pytest.mark.parametrize(
    "ask",
    [
        lambda log: log.bounds(EVENTS_TOPIC),
        lambda log: list(log.scan(EVENTS_TOPIC, 0, 0, 10)),
        lambda log: log.offset_at(EVENTS_TOPIC, 0, 0),
    ],
)
def test_a_broker_that_is_silent_has_no_offsets(paused: KafkaCluster, ask: Callable[[KafkaEventLog], object]) -> None:
    """To the client it is no error: it gives -1001, which must not be taken for the end."""
    log = KafkaEventLog(own(paused))
    log.append(of_one_key(1))
    ask(log)
    paused.pause()
    with pytest.raises(ServiceUnavailable, match="no answer from the Kafka brokers"):
        ask(log)
    log.close()


def test_a_consumer_tells_silence_from_nothing_new(paused: KafkaCluster, group: str) -> None:
    log = KafkaEventLog(own(paused))
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    log.append(many(10))
    drain(consumer, 10)
    paused.pause()

    def unreachable() -> bool:
        try:
            assert consumer.poll(10, 0.2) == []
        except ServiceUnavailable:
            return True
        return False

    until(unreachable)
    with pytest.raises(ServiceUnavailable):
        consumer.commit(dict.fromkeys(consumer.assigned(), 1))
    paused.resume()
    until(lambda: _works(log))
    found, deadline = list[Record](), time.monotonic() + 30
    while not found and time.monotonic() < deadline:
        with suppress(ServiceUnavailable):
            found += records_of(consumer.poll(10, 0.2))
    assert found, "it goes on when they are back"
    consumer.close()
    log.close()


def test_closing_is_bounded_when_brokers_are_away(paused: KafkaCluster, group: str) -> None:
    log = KafkaEventLog(own(paused))
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    log.append(many(10))
    drain(consumer, 10)
    paused.pause()
    began = time.monotonic()
    consumer.close()
    log.close()
    assert time.monotonic() - began < 15


def test_a_publish_without_an_answer_is_settled_by_the_next(paused: KafkaCluster, group: str) -> None:
    log = KafkaEventLog(replace(own(paused), session_timeout_s=30))
    log.append(many(20))
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    first = batch(copier, 10)
    until(lambda: published(copier, first))
    runs = batch(copier, 10)
    paused.pause()
    with pytest.raises(ServiceUnavailable):
        copy(copier, runs)
    paused.resume()
    until(lambda: published(copier, runs))
    copy_until(copier, log)
    copier.close()
    log.close()
