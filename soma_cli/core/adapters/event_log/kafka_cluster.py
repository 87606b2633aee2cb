"""What is asked of the brokers with an admin client: topics, bounds, groups. Every answer comes within `timeout_s`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, NamedTuple

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    DescribeClusterResult,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from soma_cli.core.adapters.event_log.kafka_admin import ASKING_S, SETTLING, KafkaAdmin
from soma_cli.core.adapters.event_log.kafka_client import KafkaClient
from soma_cli.core.adapters.event_log.kafka_group_offsets import GroupOffsets
from soma_cli.core.adapters.event_log.kafka_reached import Reached
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError, UsageError
from soma_cli.core.ports import Bounds, Committed
from soma_cli.core.record import (
    AUDIT_TOPIC,
    DEAD_LETTER_TOPIC,
    EVENTS_TOPIC,
    LATEST_TOPIC,
    REQUESTS_TOPIC,
    RESPONSES_TOPIC,
)

TOPICS = (EVENTS_TOPIC, AUDIT_TOPIC, LATEST_TOPIC, REQUESTS_TOPIC, RESPONSES_TOPIC, DEAD_LETTER_TOPIC)
_NONE_SUCH = -1
"""What the brokers say where no record is as late as the instant that was asked for."""
_PAUSE_S = 0.02
_DOUBT_S = 3.0
_DOUBT_PAUSE_S = 0.1
_CONFIG_S = 3.0
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_COMMITTED, _ANY = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED


class Known(NamedTuple):
    """What is remembered of a topic. A topic that was made anew has another id; `forget` makes the log look again."""

    topic_id: str
    partitions: int


class KafkaCluster(KafkaAdmin):
    """What is asked of the brokers. Safe with several threads."""

    def __init__(self, client: KafkaClient) -> None:
        super().__init__(client)
        self._known: dict[str, Known] = {}
        self._configs: dict[str, tuple[float, dict[str, str]]] = {}
        self._groups = GroupOffsets(client)
        self._reached = Reached()

    # --- topics ---

    def existing(self) -> list[str]:
        """soma's topics that are there, without prefix."""
        with self.made_anew_if_lost():
            metadata = self.client.reach(
                lambda timeout_s: self.admin.list_topics(timeout=timeout_s), self.poll, self.trouble, "listing topics"
            )
        return [topic for topic in TOPICS if self.client.on_broker(topic) in metadata.topics]

    def describe(self, topics: Sequence[str], *, rights: bool = False) -> dict[str, TopicDescription]:
        """Raises ConfigurationError (`topic_missing`) for one that is not there."""
        if not topics:
            return {}
        names = TopicCollection([self.client.on_broker(topic) for topic in topics])

        def send(within_s: float) -> dict[str, Future[TopicDescription]]:
            return self.admin.describe_topics(names, include_authorized_operations=rights, request_timeout=within_s)

        found = self.answers(send, lambda name: f"looking up the topic {self.client.ours(name)}")
        return {topic: found[self.client.on_broker(topic)] for topic in topics}

    def known(self, topic: str, *, anew: bool = False) -> Known:
        known = None if anew else self._known.get(topic)  # another thread may forget it meanwhile
        if known is None:
            description = self.describe([topic])[topic]
            # In the alphabet that Kafka's own tools print.
            topic_id = str(description.topic_id).replace("+", "-").replace("/", "_")
            known = self._known[topic] = Known(topic_id, len(description.partitions))
        return known

    def forget(self, topic: str) -> None:
        self._known.pop(topic, None)
        self._configs.pop(topic, None)

    def check_partition(self, topic: str, partition: int) -> None:
        count = self.known(topic).partitions
        if not 0 <= partition < count:
            raise UsageError(f"{topic} has no partition {partition}", hint=f"its partitions are 0 to {count - 1}")

    def configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """The policy that holds for each topic, by the broker's names."""
        asked = {ConfigResource(ResourceType.TOPIC, self.client.on_broker(topic)): topic for topic in topics}
        if not asked:
            return {}
        found = self.answers(
            lambda within_s: self.admin.describe_configs(list(asked), request_timeout=within_s),
            lambda resource: f"reading the policy of {resource.name}",
        )
        return {
            asked[resource]: {name: entry.value for name, entry in entries.items()}
            for resource, entries in found.items()
        }

    def config(self, topic: str) -> dict[str, str]:
        """The same of one topic, remembered for some seconds; empty where this user may not read it."""
        read_at, found = self._configs.get(topic, (-_CONFIG_S, {}))
        if time.monotonic() - read_at >= _CONFIG_S:
            try:
                found = self.configs([topic])[topic]
            except ConfigurationError as error:
                if error.code != "not_authorized":
                    raise
                found = {}
            self._configs[topic] = time.monotonic(), found
        return found

    def short_of_replicas(self, topic: str) -> str | None:
        """A sentence, where the brokers take no records because too few of them have the partition. Asked for a second
        at most, and None where there is no answer."""
        try:
            least = int(self.config(topic).get("min.insync.replicas", "1"))
            asked = TopicCollection([self.client.on_broker(topic)])
            [future] = self.admin.describe_topics(asked, request_timeout=ASKING_S).values()
            partitions = future.result(ASKING_S).partitions
        except (SomaError, KafkaException, FutureTimeout):
            return None
        short = [item.id for item in partitions if len(item.isr) < least]
        return f"{topic} has fewer than {least} replicas in sync in the partitions {short}" if short else None

    def create(self, topics: Sequence[NewTopic]) -> list[str]:
        """The names of those that were made; one that another process made at the same moment is not among them.
        Returns when their partitions have leaders."""
        created = []
        futures = self.admin.create_topics(list(topics), request_timeout=self.client.timeout_s) if topics else {}
        for name, future in futures.items():
            try:
                future.result(self.client.timeout_s + 1)
            except FutureTimeout as error:
                raise self.client.unreachable(self.trouble, f"making the topic {name}") from error
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self.client.error(error, self.trouble, f"making the topic {name}") from error
            else:
                created.append(name)
        for topic in topics:
            self._wait_for_leaders(self.client.ours(topic.topic))
        return created

    def _wait_for_leaders(self, topic: str) -> None:
        """A topic that was just made is known to every broker a moment later."""
        deadline = time.monotonic() + self.client.timeout_s
        while True:
            self.forget(topic)
            try:
                self.bounds(topic)
            except ConfigurationError as error:
                if error.code != "topic_missing" or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return

    # --- bounds ---

    def bounds(self, topic: str, reaching: Mapping[int, int] | None = None) -> dict[int, Bounds]:
        """`end` is the last stable offset: what an open transaction holds back is not counted, so that every offset
        below it can be read at once. An end below `reaching` is asked for again, for some seconds, before it is given.
        One below what this process knows to be there raises ServiceUnavailable after that; but only once, as from then
        on the log is taken to have lost it."""
        return self._bounds(topic, range(self.known(topic).partitions), reaching or {})

    def partition_bounds(self, topic: str, partition: int, reaching: int = 0) -> Bounds:
        self.check_partition(topic, partition)
        return self._bounds(topic, [partition], {partition: reaching})[partition]

    def reached(self, topic: str, ends: Mapping[int, int], *, readable: bool = True) -> None:
        """Note that those partitions hold all offsets below these."""
        if topic in self._known:
            self._reached.note(self._known[topic].topic_id, ends, readable=readable)

    def _bounds(self, topic: str, partitions: Sequence[int], reaching: Mapping[int, int]) -> dict[int, Bounds]:
        deadline = time.monotonic() + min(self.client.timeout_s, _DOUBT_S)
        first, last = dict.fromkeys(partitions, _EARLIEST), dict.fromkeys(partitions, _LATEST)
        while True:
            beginnings, ends = self._offsets(topic, [first, last])
            topic_id = self.known(topic).topic_id
            hidden = self._reached.above(topic_id, ends, readable=False)
            gone = self._not_there(topic, hidden) | self._reached.above(topic_id, ends, readable=True)
            if hidden and not gone:  # held back by an open transaction, or there by now: the ends of now tell which
                _, now = self._offsets(topic, [first, last])
                ends = {partition: max(end, now[partition]) for partition, end in ends.items()}
            if not gone and (time.monotonic() > deadline or all(reaching.get(n, 0) <= ends[n] for n in ends)):
                self.reached(topic, ends)
                return {partition: Bounds(beginning, ends[partition]) for partition, beginning in beginnings.items()}
            if gone and time.monotonic() > deadline:
                raise self._went_back(topic, gone, ends)
            time.sleep(_DOUBT_PAUSE_S)
            self.forget(topic)
            self.look_again(ASKING_S)

    def _not_there(self, topic: str, known: Mapping[int, int]) -> dict[int, int]:
        """Those of the partitions that do not reach as far, also where what an open transaction holds back counts."""
        if not known:
            return {}
        [ends] = self._offsets(topic, [dict.fromkeys(known, _LATEST)], _ANY)
        return {partition: end for partition, end in known.items() if ends[partition] < end}

    def _went_back(self, topic: str, gone: Mapping[int, int], ends: Mapping[int, int]) -> ServiceUnavailable:
        self._reached.forget(self.known(topic).topic_id, gone)
        told = ", ".join(f"{topic}/{number} ends at {ends[number]}, but had {end}" for number, end in gone.items())
        return ServiceUnavailable(
            f"the brokers at {self.client.servers} say that the log is shorter than it was: {told}",
            hint="a broker that was cut off may say so for a moment; if it stays, the log has lost these records",
        )

    def held_back(self, topic: str) -> dict[int, Bounds]:
        """By partition, the offsets [first, end) that an open transaction keeps from readers; those without one are
        left out. Ends are asked for first, so that what is appended meanwhile is not taken for such."""
        asked = [dict.fromkeys(range(self.known(topic).partitions), _LATEST)]
        [ends], [stable] = self._offsets(topic, asked, _ANY), self._offsets(topic, asked)
        return {number: Bounds(stable[number], end) for number, end in ends.items() if end > stable[number]}

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        """Brokers keep milliseconds, so an instant between two of them is that of the later one."""
        self.check_partition(topic, partition)
        at = OffsetSpec.for_timestamp(max(-(-instant // 1000), 0))
        found, end = self._offsets(topic, [{partition: at}, {partition: _LATEST}])
        return end[partition] if found[partition] == _NONE_SUCH else min(found[partition], end[partition])

    def _offsets(
        self, topic: str, asked: Sequence[Mapping[int, OffsetSpec]], isolation: IsolationLevel = _COMMITTED
    ) -> list[dict[int, int]]:
        """Asked at the same time; again while a partition changes its leader, or its leader does not answer."""

        def ask(within_s: float) -> list[dict[int, int]]:
            sent = [self._list_offsets(topic, specs, isolation, within_s) for specs in asked]
            return [self._answers(topic, futures) for futures in sent]

        with self.made_anew_if_lost():
            return self.settled(ask, SETTLING | {KafkaError._TIMED_OUT})

    def _list_offsets(
        self, topic: str, specs: Mapping[int, OffsetSpec], isolation: IsolationLevel, within_s: float
    ) -> dict[TopicPartition, Future[Any]]:
        name = self.client.on_broker(topic)
        return self.admin.list_offsets(
            {TopicPartition(name, partition): spec for partition, spec in specs.items()},
            isolation_level=isolation,
            request_timeout=within_s,
        )

    def _answers(self, topic: str, futures: Mapping[TopicPartition, Future[Any]]) -> dict[int, int]:
        """A leader that is away, or does not answer in time, is no error to the client: it gives an offset that is
        none, -1001. Whoever took that for an end would find the partition empty."""
        what = f"asking for the offsets of {topic}"
        try:
            answers = {key.partition: self.client.result(each, self.trouble, what) for key, each in futures.items()}
        finally:
            self.poll()
        found = {partition: answer.offset for partition, answer in answers.items()}
        if any(offset < _NONE_SUCH for offset in found.values()):
            silence = KafkaException(KafkaError(KafkaError._TIMED_OUT))
            raise self.client.error(silence, self.trouble, what) from silence
        return found

    # --- groups ---

    def committed(self, group: str, topic: str, *, stable: bool = False) -> dict[int, Committed]:
        """`stable`: raises ServiceUnavailable while a transaction is open that may change them."""
        name, partitions = self.client.on_broker(topic), range(self.known(topic).partitions)
        return self.settled(lambda _: self._groups.committed(group, name, partitions, stable=stable))

    def brokers(self) -> DescribeClusterResult:
        found: DescribeClusterResult = self.answers(
            lambda within_s: {"": self.admin.describe_cluster(request_timeout=within_s)},
            lambda _: "describing the cluster",
        )[""]
        return found

    def close(self) -> None:
        self._groups.close()
        super().close()


def topic_partitions(name: str, offsets: Mapping[int, int], note: str | None = None) -> list[TopicPartition]:
    """As the client wants them; `note` is written beside each offset."""
    if note is None:
        return [TopicPartition(name, partition, offset) for partition, offset in offsets.items()]
    return [TopicPartition(name, partition, offset, note) for partition, offset in offsets.items()]


def plain(name: str, partitions: Iterable[int]) -> list[TopicPartition]:
    return [TopicPartition(name, partition) for partition in partitions]
