"""Appending: every record acknowledged by all replicas that are in sync, or an error that says what is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from confluent_kafka import KafkaError, KafkaException, Message, Producer, murmur2

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient, Trouble, too_large, why_it_ended
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster
from soma_cli.core.errors import ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.ports import Appended
from soma_cli.core.record import NewRecord, Position

PRODUCER_BYTES = 100 << 20
"""More than any topic takes: the topic's own limit is what refuses a record."""
_OVERHEAD = 512
_BULK = 100
_LINGER_MS = 5
_SERVE_EVERY = 2000
_PURGED = {
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._GAPLESS_GUARANTEE,
    KafkaError._FATAL,
}
_NEVER_APPENDED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
"""Refused before the log was touched. Whatever else ends a record may have come after it was appended: a record that
was purged while it waited in the queue, too, because it may have waited there for its second try."""


Report = Callable[[KafkaError | None, Message], None]


class Delivery:
    """What became of the records of one `append`. Reports come in any thread that polls the producer, in any order."""

    def __init__(self) -> None:
        self.first = False
        """Whether the producer had sent nothing before."""
        self.failures: list[KafkaError] = []
        self.not_taken: KafkaError | None = None
        """Why the client did not take a record from `append`, which therefore handed over no more."""
        self._placed: dict[str, list[tuple[int, int, int]]] = {}

    def of(self, topic: str) -> Report:
        """What takes the reports on the records of the topic. One for all of them: the records are told apart by where
        they lie, because to make something for each would cost a quarter of the whole time."""
        placed, failures = self._placed.setdefault(topic, []), self.failures

        def report(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is not None:
                failures.append(error)
            elif offset is None or offset < 0:
                # So says a broker that has forgotten where the first try of a record went.
                failures.append(KafkaError(KafkaError._NO_OFFSET, "the record is there, but not its offset"))
            else:
                placed.append((message.partition() or 0, offset, message.timestamp()[1]))

        return report

    @property
    def reported(self) -> int:
        return len(self.failures) + sum(map(len, self._placed.values()))

    @property
    def some_placed(self) -> bool:
        return any(self._placed.values())

    def ends(self, topic: str) -> dict[int, int]:
        """By partition, the offset behind the last of the topic's records."""
        ends: dict[int, int] = {}
        for partition, offset, _ in self._placed[topic]:
            if offset >= ends.get(partition, 0):
                ends[partition] = offset + 1
        return ends

    def receipts(self, records: Sequence[NewRecord], partitions: Sequence[int]) -> list[Appended]:
        """Within a partition the records lie in the order in which they were sent."""
        rows = {
            (topic, partition): iter(list(lying))
            for topic, placed in self._placed.items()
            for partition, lying in groupby(sorted(placed), key=itemgetter(0))
        }
        found = (next(rows[record.topic, partition]) for record, partition in zip(records, partitions, strict=True))
        return [
            Appended(Position(record.topic, partition, offset), at_ms * 1000)
            for record, (partition, offset, at_ms) in zip(records, found, strict=True)
        ]


class _Live:
    """A producer, and what it says when it can't go on for good. It says so once, to whichever thread polls."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.fatal: KafkaError | None = None

    def serve(self, timeout_s: float) -> None:
        """Take reports."""
        try:
            self.producer.poll(timeout_s)
        except KafkaException as error:
            self.fatal = error.args[0]

    def refuses(self, error: KafkaError) -> None:
        """It took no record, and `error` was all it said."""
        if error.code() == KafkaError._FATAL:
            cause = why_it_ended(self.producer, lambda: self.fatal is not None)
            self.fatal = cause or self.fatal or error


class KafkaAppender:
    """A producer for few records, which go at once, and one for many, which go in large batches; each is made when it
    is first needed. `one_shot` leaves out what only a longer life pays back: a producer id, which costs two round trips
    more. Safe with several threads."""

    def __init__(self, cluster: KafkaCluster, *, one_shot: bool) -> None:
        self._cluster = cluster
        self._client: KafkaClient = cluster.client
        self._one_shot = one_shot
        self._lock = threading.Lock()
        self._trouble = Trouble()
        self._made: dict[bool, _Live] = {}

    def append(self, records: Sequence[NewRecord]) -> list[Appended]:
        """Raises ServiceUnavailable (`details["uncertain"]` says whether some may be there all the same), ValueRefused
        (`too_large`) and ConfigurationError."""
        if not records:
            return []
        names = {topic: self._client.on_broker(topic) for topic in {record.topic for record in records}}
        self._refuse(records)
        partitions = self._partitions(records)
        delivery = Delivery()
        live = self._live(records, delivery)
        heard = self._trouble.count
        sent = self._send(live, zip(records, partitions, strict=True), names, delivery)
        self._wait(live, delivery, sent)
        if delivery.failures or delivery.reported < len(records):
            raise self._failed(live, delivery, names, sent, self._trouble.count > heard)
        for topic in names:
            self._cluster.reached(topic, delivery.ends(topic), readable=False)
        return delivery.receipts(records, partitions)

    def _refuse(self, records: Sequence[NewRecord]) -> None:
        """What can be refused is refused before anything is sent: later it would leave a prefix."""
        limits: dict[str, tuple[int, bool]] = {}
        for number, record in enumerate(records):
            if record.topic not in limits:
                config = self._config(record.topic)
                compacted = "compact" in config.get("cleanup.policy", "")
                limits[record.topic] = int(config.get("max.message.bytes", PRODUCER_BYTES)), compacted
            most, keyed = limits[record.topic]
            if len(record.value or b"") + len(record.key or b"") + _OVERHEAD > most:
                raise too_large(f"appending record {number} to {record.topic}")
            if keyed and record.key is None:
                raise ValueRefused(f"record {number} has no key, and {record.topic} is compacted", hint="give it one")
            if record.partition is not None:
                self._cluster.check_partition(record.topic, record.partition)

    def _partitions(self, records: Sequence[NewRecord]) -> list[int]:
        """As Java's clients choose them by key; a record without one lies anywhere."""
        counts = {topic: self._cluster.known(topic).partitions for topic in {record.topic for record in records}}
        return [
            (murmur2(key, counts[topic]) if key is not None else number % counts[topic]) if chosen is None else chosen
            for number, (topic, key, _, _, chosen) in enumerate(records)
        ]

    def _config(self, topic: str) -> Mapping[str, str]:
        """The brokers are asked before anything is sent: where they do not answer, nothing was."""
        try:
            self._cluster.known(topic)
            return self._cluster.config(topic)
        except ServiceUnavailable as error:
            error.details["uncertain"] = False
            raise

    def _live(self, records: Sequence[NewRecord], delivery: Delivery) -> _Live:
        bulk = len(records) >= _BULK
        with self._lock:
            live = self._made.get(bulk)
            if live is not None:
                live.serve(0)  # what it heard since the last append
            delivery.first = new = live is None or live.fatal is not None
            if live is None or live.fatal is not None:
                plain = self._one_shot and len(records) == 1
                configuration = self._configuration(idempotent=not plain, linger_ms=_LINGER_MS if bulk else 0)
                live = self._made[bulk] = _Live(self._client.made(lambda: Producer(configuration)))
        if new or self._trouble.last is not None:
            self._reach(live, records[0].topic)
        return live

    def _reach(self, live: _Live, topic: str) -> None:
        name = self._client.on_broker(topic)

        def ask(timeout_s: float) -> None:
            live.producer.list_topics(name, timeout=timeout_s)
            live.serve(0)  # trouble on the way to this answer is over with it

        try:
            self._client.reach(
                ask,
                lambda: live.serve(0),
                self._trouble,
                f"appending to {topic}",
            )
        except ServiceUnavailable as error:
            with self._lock:
                self._made.clear()  # it may have lost the brokers for good
            error.details["uncertain"] = False
            raise

    def _configuration(self, *, idempotent: bool, linger_ms: int) -> dict[str, object]:
        backstop_ms = int(self._client.timeout_s * 2000) + 1000
        safe = {"enable.idempotence": True, "enable.gapless.guarantee": True}
        plain = {"enable.idempotence": False, "max.in.flight.requests.per.connection": 1}
        return {
            **self._client.configuration(self._trouble),
            **(safe if idempotent else plain),
            "acks": "all",
            "linger.ms": linger_ms,
            "message.max.bytes": PRODUCER_BYTES,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 65_536,
            # A record that gets no answer is purged after `timeout_s`; this comes later, should that not happen.
            "delivery.timeout.ms": backstop_ms,
        }

    def _send(
        self, live: _Live, records: Iterable[tuple[NewRecord, int]], names: dict[str, str], delivery: Delivery
    ) -> int:
        """Hand the records over, in order, until one fails. Returns how many were handed over."""
        produce, failures, index = live.producer.produce, delivery.failures, -1
        reports = {topic: delivery.of(topic) for topic in names}
        for index, ((topic, key, value, headers, _), partition) in enumerate(records):
            while True:
                try:
                    produce(
                        names[topic], value, key, partition, reports[topic], None, 0, list(headers) if headers else None
                    )
                    break
                except BufferError:
                    if not self._progress(live, delivery, index):
                        return index
                except KafkaException as error:
                    delivery.not_taken = error.args[0]
                    live.refuses(delivery.not_taken)
                    return index
            if index % _SERVE_EVERY == 0:
                live.serve(0)
            if failures:
                return index + 1
        return index + 1

    def _progress(self, live: _Live, delivery: Delivery, sent: int) -> bool:
        """Wait until something more was reported; False, and everything purged, where nothing is for `timeout_s`."""
        before, deadline = delivery.reported, time.monotonic() + self._client.timeout_s
        while True:
            live.serve(0.01)
            if delivery.reported > before or before >= sent or live.fatal is not None:
                return True
            if time.monotonic() > deadline:
                self._give_up(live, delivery, sent)
                return False

    def _wait(self, live: _Live, delivery: Delivery, sent: int) -> None:
        while delivery.reported < sent and live.fatal is None and self._progress(live, delivery, sent):
            pass

    def _give_up(self, live: _Live, delivery: Delivery, sent: int) -> None:
        live.producer.purge(in_queue=True, in_flight=True, blocking=False)
        deadline = time.monotonic() + 1
        while delivery.reported < sent and time.monotonic() < deadline:
            live.serve(0.05)

    def _failed(self, live: _Live, delivery: Delivery, names: dict[str, str], sent: int, disturbed: bool) -> SomaError:
        with self._lock:
            self._made.clear()
        failures = [*filter(None, (live.fatal, delivery.not_taken)), *delivery.failures]
        real = [failure for failure in failures if failure.code() not in _PURGED]
        what = f"appending to {', '.join(sorted(names))}"
        error = self._client.error(real[0], self._trouble, what) if real else self._silence(names, what)
        refused = all(failure.code() in _NEVER_APPENDED for failure in failures)
        unsure = delivery.some_placed or disturbed or delivery.reported < sent or not refused
        uncertain = sent > 0 and unsure and not (delivery.first and _got_no_id(real))
        error.details["uncertain"] = uncertain
        if uncertain:
            error.message += "; the outcome is unknown: what was sent may have been appended all the same"
            error.args = (error.message,)
        return error

    def _silence(self, names: dict[str, str], what: str) -> SomaError:
        """The client does not tell why it tries again; most often it is that too few replicas are in sync."""
        short = None if self._trouble.last else next(filter(None, map(self._cluster.short_of_replicas, names)), None)
        if short is None:
            return self._client.unreachable(self._trouble, what)
        return ServiceUnavailable(f"{what} failed: {short}", hint="`soma doctor` names the partitions; bring it back")

    def close(self) -> None:
        with self._lock:
            self._made.clear()


def _got_no_id(failures: Sequence[KafkaError]) -> bool:
    """Whether the brokers gave the producer no id, without which it sends nothing."""
    return bool(failures) and failures[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED
