"""What only brokers do: they go away, hand partitions over, fence zombies, compact, and abort transactions."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.errors import ConfigurationError, LogBehind, ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.ports import Consumer, Copier, Fenced, Run
from soma_cli.core.record import AUDIT_TOPIC, DEAD_LETTER_TOPIC, EVENTS_TOPIC, NewRecord, Position, Record
from soma_cli.core.settings import LogSettings
from tests.contracts.adapters import kafka_settings
from tests.contracts.events import everything, new_record
from tests.contracts.processes import output, start, until
from tests.services import KafkaCluster, kafka_address


@pytest.fixture
def settings(place: Path) -> LogSettings:
    return kafka_settings(place)


@pytest.fixture
def log(settings: LogSettings) -> Iterator[KafkaEventLog]:
    log = KafkaEventLog(settings)
    yield log
    log.close()


@pytest.fixture
def group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


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


def of_one_key(count: int) -> list[NewRecord]:
    return [new_record(1, number) for number in range(count)]


def many(count: int) -> list[NewRecord]:
    return [new_record(number % 9, number) for number in range(count)]


def records_of(runs: list[Run]) -> list[Record]:
    return [item for run in runs for item in run.records]


def from_beginning(partition: int) -> int:
    return 0


def drain(consumer: Consumer, count: int) -> list[Record]:
    found, deadline = list[Record](), time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += records_of(consumer.poll(100, 0.2))
    return found


def by_partition(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda item: item.partition)


def own(cluster: KafkaCluster, timeout_s: float = 1.5) -> LogSettings:
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


# --- brokers that are away ---------------------------------------------------------------------------------------


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
    assert time.monotonic() - began < 5
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
    assert time.monotonic() - began < 6
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
    assert time.monotonic() - began < 9


# --- what is refused ---------------------------------------------------------------------------------------------


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


def test_a_record_that_is_too_large(log: KafkaEventLog) -> None:
    large = NewRecord(EVENTS_TOPIC, b"k", bytes(9 << 20))
    with pytest.raises(ValueRefused) as found:
        log.append([*of_one_key(3), large])
    assert found.value.code == "too_large"
    assert everything(log) == [], "nothing of the list was appended"


def test_large_records_are_taken(log: KafkaEventLog) -> None:
    """The copy of an event is larger than the event."""
    for topic in (EVENTS_TOPIC, AUDIT_TOPIC, DEAD_LETTER_TOPIC):
        log.append([NewRecord(topic, b"k", bytes(2 << 20), (("why", b"w" * 1000),))])
        assert [len(item.value or b"") for item in everything(log, topic)] == [2 << 20]


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


def alter(admin: Any, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


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


# --- groups ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "error"), [(99, LogBehind), (1, ConfigurationError)])
def test_a_start_that_the_log_does_not_hold_is_an_error(
    settings: LogSettings, log: KafkaEventLog, group: str, offset: int, error: type[SomaError]
) -> None:
    position = log.append(of_one_key(10))[5].position
    delete_before(settings, position)
    assert log.bounds(EVENTS_TOPIC)[position.partition].beginning == 5
    assert [item.offset for item in everything(log)] == [5, 6, 7, 8, 9]
    ends = log.bounds(EVENTS_TOPIC)
    consumer = log.consumer(
        group, EVENTS_TOPIC, lambda partition: offset if partition == position.partition else ends[partition].end
    )
    for _ in range(2):
        with pytest.raises(error):
            drain(consumer, 1)
    consumer.close()


class Instead:
    """A client of which some calls are replaced."""

    def __init__(self, client: Any, **calls: Callable[..., object]) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._client, name)


@pytest.mark.parametrize("copies", [False, True])
def test_an_error_among_records_loses_none(
    log: KafkaEventLog, group: str, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    """A run that is not handed out is read again, with those of the other partitions."""
    made: Any = log.copier if copies else log.consumer
    consumer = made(group, EVENTS_TOPIC, from_beginning)
    sent = {item.position for item in log.append(many(60))}
    take = consumer._take

    def take_and_fail(limit: int, timeout_s: float) -> list[Message]:
        if taken := take(limit, timeout_s):
            monkeypatch.undo()
            taken.append(Message(topic=consumer.name, partition=0, error=KafkaError(KafkaError.KAFKA_STORAGE_ERROR)))
        return list(taken)

    monkeypatch.setattr(consumer, "_take", take_and_fail)
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 60)
    assert {item.position for item in drain(consumer, 60)} == sent
    consumer.close()


def test_records_that_the_client_drops_are_read_again(log: KafkaEventLog, group: str) -> None:
    """It drops what it has taken where a callback fails."""
    consumer: Any = log.consumer(group, EVENTS_TOPIC, from_beginning)
    log.append(many(60))
    drain(consumer, 60)
    client = consumer.consumer

    def drop(*arguments: object) -> object:
        client.consume(*arguments)
        raise KafkaException(KafkaError(KafkaError._STATE))

    consumer.consumer = Instead(client, consume=drop)
    sent = {item.position for item in log.append(many(60))}
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 1)
    consumer.consumer = client
    assert sent <= {item.position for item in drain(consumer, 120)}
    consumer.close()


def test_it_goes_on_once_the_log_holds_its_offset_again(log: KafkaEventLog, group: str) -> None:
    """As after a leader was chosen that lacked the newest records: the brokers said that there is no such offset."""
    passed: dict[int, int] = {}
    consumer: Any = log.consumer(group, EVENTS_TOPIC, lambda partition: passed.get(partition, 0))
    where = log.append(of_one_key(10))[-1].position
    drain(consumer, 10)
    passed[where.partition] = 10
    consumer.consumer.seek(TopicPartition(consumer.name, where.partition, 1000))
    with pytest.raises(ServiceUnavailable):
        drain(consumer, 1)
    log.append(of_one_key(5))
    assert [item.offset for item in drain(consumer, 5)] == [10, 11, 12, 13, 14]
    consumer.close()


def test_a_copier_that_is_no_member_any_more_publishes_nothing(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    """Also where its client has heard so, and the copier not yet: its membership then is that of nobody."""
    copier: Any = log.copier(group, EVENTS_TOPIC, from_beginning)
    log.append(of_one_key(5))
    nobody = Client({"bootstrap.servers": settings.bootstrap_servers or "", "group.id": group})
    client = copier.consumer
    polled, deadline = list[Run](), time.monotonic() + 30
    copier.consumer = client
    while not copier.assigned() and time.monotonic() < deadline:
        copier.poll(1, 0.2)
    copier.consumer = Instead(client, consumer_group_metadata=nobody.consumer_group_metadata, memberid=nobody.memberid)
    log.append(of_one_key(5))
    while not polled and time.monotonic() < deadline:
        polled = copier.poll(10, 0.2)
    with pytest.raises(Fenced):
        copier.publish([NewRecord(AUDIT_TOPIC, b"k", b"v")], {run.partition: run.end for run in polled})
    assert everything(log, AUDIT_TOPIC) == []
    assert log.committed(group, EVENTS_TOPIC) == {}
    copier.consumer = client
    nobody.close()
    copier.close()


def test_records_that_are_deleted_while_it_reads_are_an_error(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    """The brokers say so, not the look at the bounds before a start; the reader never goes on by itself elsewhere."""
    position = log.append(of_one_key(10))[5].position
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    assert len(drain(consumer, 10)) == 10
    delete_before(settings, position)
    consumer.seek(position.partition, 1)
    with pytest.raises(ConfigurationError) as found:
        drain(consumer, 1)
    assert found.value.code == "offset_out_of_range"
    consumer.close()


def delete_before(settings: LogSettings, position: Position) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    alter(admin, settings.topic_prefix + EVENTS_TOPIC, "cleanup.policy", "delete")  # else the broker refuses
    deleted = TopicPartition(settings.topic_prefix + EVENTS_TOPIC, position.partition, position.offset)
    until(lambda: _deleted(admin, deleted))


def _deleted(admin: AdminClient, before: TopicPartition) -> bool:
    """The broker that holds the log hears of a new policy later than the one that took it."""
    try:
        for future in admin.delete_records([before]).values():
            future.result(10)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.POLICY_VIOLATION:
            raise
        return False
    return True


def test_a_start_that_fails_for_a_while_is_asked_again(log: KafkaEventLog, group: str) -> None:
    log.append(many(30))
    failures = iter(range(3))

    def begin(partition: int) -> int:
        if next(failures, None) is not None:
            raise ServiceUnavailable("the store is away")
        return 0

    consumer = log.consumer(group, EVENTS_TOPIC, begin)
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="the store is away"):
            drain(consumer, 1)
        assert consumer.assigned() == {0, 1, 2}
    assert by_partition(drain(consumer, 30)) == everything(log)
    consumer.close()


def test_partitions_that_go_to_another_can_be_committed_first(
    settings: LogSettings, log: KafkaEventLog, group: str
) -> None:
    log.append(many(30))
    told: list[frozenset[int]] = []

    def revoked(partitions: frozenset[int]) -> None:
        told.append(partitions)
        first.commit(dict.fromkeys(partitions, 3))

    first = log.consumer(group, EVENTS_TOPIC, from_beginning, revoked)
    drain(first, 30)
    second = log.consumer(group, EVENTS_TOPIC, from_beginning)

    def handed_over() -> bool:
        for member in (first, second):
            member.poll(10, 0.05)
        return bool(told and second.assigned())

    until(handed_over)
    assert second.assigned() == told[0]
    assert {partition: item.offset for partition, item in log.committed(group, EVENTS_TOPIC).items()} == dict.fromkeys(
        told[0], 3
    )
    first.commit({0: 7, 1: 7, 2: 7})
    committed = {partition for partition, item in log.committed(group, EVENTS_TOPIC).items() if item.offset == 7}
    assert committed == first.assigned(), "what is not ours any more is left out"
    first.close()
    second.close()


def test_what_tools_commit_is_read_too(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    until(lambda: bool(consumer.poll(1, 0.1)) or bool(consumer.assigned()))
    raw: Any = consumer
    for metadata in ("", "not json", "[]", "{}"):
        item = TopicPartition(settings.topic_prefix + EVENTS_TOPIC, 0, 5, metadata)
        raw.consumer.commit(offsets=[item], asynchronous=False)
        assert log.committed(group, EVENTS_TOPIC)[0] == (5, 0, None)
    consumer.close()


# --- transactions ------------------------------------------------------------------------------------------------


def copy(copier: Copier, runs: list[Run]) -> None:
    copies = [
        NewRecord(AUDIT_TOPIC, item.key, item.value, (("at", str(item.position).encode()),), item.partition)
        for item in records_of(runs)
    ]
    copier.publish(copies, {run.partition: run.end for run in runs})


def batch(copier: Copier, limit: int) -> list[Run]:
    found: list[Run] = []

    def came() -> bool:
        with suppress(ServiceUnavailable):
            found.extend(copier.poll(limit, 0.2))
        return bool(found)

    until(came)
    return found


def published(copier: Copier, runs: list[Run]) -> bool:
    with suppress(ServiceUnavailable):
        copy(copier, runs)
        return True
    return False


def copy_until(copier: Copier, log: KafkaEventLog) -> None:
    """Copy until everything is; the audit topic then has each value once."""
    expected = sorted(item.value or b"" for item in everything(log))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # A transaction of one that died is in the way until its time is over.
        with suppress(Fenced, ServiceUnavailable):
            if runs := copier.poll(20, 0.1):
                copy(copier, runs)
            elif len(everything(log, AUDIT_TOPIC)) >= len(expected):
                break
    assert sorted(item.value or b"" for item in everything(log, AUDIT_TOPIC)) == expected


def test_published_once(log: KafkaEventLog, group: str) -> None:
    log.append(many(100))
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    copier.close()
    ends = {partition: bounds.end for partition, bounds in log.bounds(EVENTS_TOPIC).items()}
    assert {partition: item.offset for partition, item in log.committed(group, EVENTS_TOPIC).items()} == ends
    log.append(many(30))
    again = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(again, log)
    again.close()


def ends_at(log: KafkaEventLog, end: int) -> bool:
    return log.bounds(EVENTS_TOPIC)[1].end == end


def test_aborted_is_unseen(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """Neither an abort nor the gaps of markers stop a reader; an open transaction holds back the end."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": group})
    producer.init_transactions(10)
    name, seen = settings.topic_prefix + EVENTS_TOPIC, list[bytes | None]()
    for number, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(name, f"{number}".encode(), b"k", partition=1)
        producer.flush(10)
        assert log.bounds(EVENTS_TOPIC)[1].end == 2 * number
        assert [item.value for item in everything(log)] == seen
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)
        seen += [f"{number}".encode()] if commit else []
        until(partial(ends_at, log, 2 * number + 2))
        assert [item.value for item in everything(log)] == seen
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    reached, found, deadline = 0, list[Record](), time.monotonic() + 20
    while reached < 8 and time.monotonic() < deadline:
        for run in consumer.poll(100, 0.2):
            assert run.start == reached
            reached = run.end
            found += run.records
    assert (reached, [item.value for item in found]) == (8, [b"0", b"2"])
    consumer.close()


ZOMBIE = """
from tests.contracts.test_kafka_adapter import batch, copy, copy_until, from_beginning, until
log = LOGS[ADAPTER](PLACE)
copier = log.copier(ARGUMENTS[0], EVENTS_TOPIC, from_beginning)
runs = batch(copier, 100)
member = copier.consumer.memberid()
print(sum(len(run.records) for run in runs), flush=True)
while not Path(ARGUMENTS[1]).exists():
    time.sleep(0.01)
until(lambda: copier.keep() or (copier.consumer.memberid() not in (member, "") and copier.assigned()))
try:
    copy(copier, runs)
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    print("published", flush=True)
copy_until(copier, log)
copier.close()
"""


def test_zombies_are_fenced(place: Path, settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """A process that was stopped for longer than its session; what it wakes up with was published by another. It
    is a member again before it publishes, because `keep` is called meanwhile, but another one."""
    log.append(many(90))
    process = start(ZOMBIE, "kafka", place, group, place / "go")
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    process.send_signal(signal.SIGSTOP)
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    (place / "go").touch()
    process.send_signal(signal.SIGCONT)
    told = process.stdout
    until(lambda: copier.poll(10, 0.05) == [] and bool(select.select([told], [], [], 0)[0]))
    assert process.stdout.readline() == "Fenced\n"
    until(lambda: copier.poll(10, 0.05) == [] and process.poll() is not None)
    assert output(process) == ""
    assert len(everything(log, AUDIT_TOPIC)) == 90
    copier.close()


COPY = """
from tests.contracts.test_kafka_adapter import copy, from_beginning
log = LOGS[ADAPTER](PLACE)
copier = log.copier(ARGUMENTS[0], EVENTS_TOPIC, from_beginning)
while True:
    if runs := copier.poll(5, 0.2):
        copy(copier, runs)
        print(sum(len(run.records) for run in runs), flush=True)
"""


def test_published_once_over_kill(place: Path, log: KafkaEventLog, group: str) -> None:
    log.append(many(300))
    for lines in (2, 5):
        process = start(COPY, "kafka", place, group)
        assert process.stdout is not None
        for _ in range(lines):
            assert int(process.stdout.readline()) > 0
        process.kill()
        output(process, killed=True)
    copier = log.copier(group, EVENTS_TOPIC, from_beginning)
    copy_until(copier, log)
    copier.close()


class Unanswered:
    """The copier's own producer; its commit is done, and the answer is lost on the way."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, timeout_s: float) -> None:
        self._producer.commit_transaction(timeout_s)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_commit_whose_answer_was_lost_is_not_made_again(log: KafkaEventLog, group: str) -> None:
    log.append(many(20))
    copier: Any = log.copier(group, EVENTS_TOPIC, from_beginning)
    first = batch(copier, 10)
    until(lambda: published(copier, first))
    runs = batch(copier, 10)
    copier._producer = Unanswered(copier._producer)
    with pytest.raises(ServiceUnavailable):
        copy(copier, runs)
    until(lambda: published(copier, runs))
    copy_until(copier, log)
    copier.close()


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


# --- compaction --------------------------------------------------------------------------------------------------


def test_gaps_of_compaction(settings: LogSettings, log: KafkaEventLog, group: str) -> None:
    """Offsets that are gone stop no reader, and the newest record of each key is there."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    name = settings.topic_prefix + EVENTS_TOPIC
    for key, value in {
        "min.compaction.lag.ms": "0",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.01",
    }.items():
        alter(admin, name, key, value)
    filler = bytes(200_000)
    log.append([NewRecord(EVENTS_TOPIC, f"{number % 3}".encode(), filler, partition=0) for number in range(40)])
    until(lambda: len(everything(log)) < 35)
    kept = everything(log)
    end = log.bounds(EVENTS_TOPIC)[0].end
    assert end == 40
    assert kept[-1].offset == 39
    consumer = log.consumer(group, EVENTS_TOPIC, from_beginning)
    reached, deadline = 0, time.monotonic() + 20
    while reached < end and time.monotonic() < deadline:
        for run in consumer.poll(5, 0.2):
            assert run.start == reached
            reached = run.end
    assert reached == end
    assert list(log.scan(EVENTS_TOPIC, 0, 0, kept[0].offset)) == []
    consumer.close()


# --- partitions ---


def test_a_key_lies_where_javas_clients_put_it(settings: LogSettings, log: KafkaEventLog) -> None:
    """So does librdkafka's partitioner of that name, with which other programs may write."""
    keys = [f"{number:036d}".encode() for number in range(40)] + [b"k" * length for length in range(40)]
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "partitioner": "murmur2_random"})
    placed: dict[bytes, int] = {}
    for key in keys:
        producer.produce(
            settings.topic_prefix + EVENTS_TOPIC,
            b"v",
            key,
            on_delivery=lambda _, m: placed.update({m.key() or b"": m.partition() or 0}),
        )
    assert producer.flush(20) == 0
    assert [placed[key] for key in keys] == log.partitions_of(EVENTS_TOPIC, keys)
    assert len({*placed.values()}) == 3


def test_receipts_tell_the_records_of_a_list_apart(log: KafkaEventLog) -> None:
    """Of several topics and partitions, with and without keys, while other threads send with the same producer."""
    records = [
        NewRecord((EVENTS_TOPIC, AUDIT_TOPIC)[number % 2], b"%d" % (number % 7), b"%d" % number)
        for number in range(600)
    ]
    records += [NewRecord(AUDIT_TOPIC, None, b"no key %d" % number) for number in range(6)]
    noise = threading.Thread(target=lambda: [log.append(many(150)) for _ in range(5)])
    noise.start()
    receipts = [receipt for _ in range(3) for receipt in log.append(records)]
    noise.join()
    lying = {item.position: item for topic in (EVENTS_TOPIC, AUDIT_TOPIC) for item in everything(log, topic)}
    assert len({receipt.position for receipt in receipts}) == 3 * len(records)
    for record, receipt in zip(records * 3, receipts, strict=True):
        found = lying[receipt.position]
        assert (found.topic, found.key, found.value, found.appended_at) == (*record[:3], receipt.appended_at)


# --- several threads ---------------------------------------------------------------------------------------------


def test_scans_that_interleave_or_are_abandoned(log: KafkaEventLog) -> None:
    log.append(many(3000))
    expected = everything(log)
    bounds = log.bounds(EVENTS_TOPIC)
    scans = [log.scan(EVENTS_TOPIC, partition, 0, bounds[partition].end) for partition in bounds]
    abandoned = log.scan(EVENTS_TOPIC, 0, 0, bounds[0].end)
    next(abandoned)
    del abandoned
    found: list[Record] = []
    while scans:
        for scan in list(scans):
            item = next(scan, None)
            if item is None:
                scans.remove(scan)
            else:
                found.append(item)
    assert by_partition(found) == expected


def test_threads_append_at_once(log: KafkaEventLog) -> None:
    receipts: list[Any] = []

    def work(number: int) -> None:
        for event in range(50):
            receipts.extend(log.append([new_record(number, event)]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {receipt.position for receipt in receipts} == {item.position for item in everything(log)}
    assert len(receipts) == 200
