"""A consumer whose output and position are committed in one Kafka transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from soma_cli.core.adapters.event_log.kafka_client import LOGGER, Trouble, bounded, why_it_ended
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster, topic_partitions
from soma_cli.core.adapters.event_log.kafka_consumer import KafkaConsumer
from soma_cli.core.adapters.event_log.kafka_producer import PRODUCER_BYTES
from soma_cli.core.errors import ServiceUnavailable, SomaError
from soma_cli.core.ports import Assigned, Fenced, Run, nothing_to_do
from soma_cli.core.record import NewRecord

_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}
_CLOSE_S = 5.0
_PAUSE_S = 0.02
_GRACE_S = 1.0
"""What a call may take beyond the timeout that it was given."""


class KafkaCopier(KafkaConsumer):
    """`Copier`: one batch at a time, `poll` then `publish` of what it gave.

    After Fenced it can be used further: nothing of the batch was published, and the next `poll` starts every partition
    that is still this member's at the group's committed offset. A broker that did not answer the commit leaves its
    outcome open: the next `publish` settles that first, and sends nothing again that was published.
    """

    def __init__(self, cluster: KafkaCluster, group: str, topic: str, start: Assigned) -> None:
        super().__init__(cluster, group, topic, start, nothing_to_do)
        self._writing = Trouble()
        self._transactional_id = f"{group}-{uuid.uuid4()}"
        self._producer: Producer | None = None
        self._open_outcome = False
        self._membership: Any = None

    def begin(self, partition: int) -> int:
        """The committed offset, as soon as no transaction can change it any more."""
        committed = self.cluster.committed(self.group, self.topic, stable=True)
        return committed[partition].offset if partition in committed else super().begin(partition)

    def poll(self, limit: int, timeout_s: float) -> list[Run]:
        """The membership of this moment goes with the batch: taken later, it could be that of a time after the
        partitions had been lost, and would let a zombie through. That of a client which has just heard that it is no
        member, and has not told so yet, names nobody: the brokers would take offsets with it from anyone."""
        runs = super().poll(limit, timeout_s)
        if runs:
            membership = self.consumer.consumer_group_metadata()
            self._membership = membership if self.consumer.memberid() else None
        return runs

    def publish(self, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> None:
        """As `Copier.publish`. Raises Fenced, ServiceUnavailable, ValueRefused (`too_large`), ConfigurationError."""
        if any(partition not in self._next for partition in offsets) or self._membership is None:
            raise self._fenced("its partitions belong to another member")
        deadline = time.monotonic() + self.client.timeout_s
        try:
            producer = self._ready(deadline)
            if self._open_outcome and self._settled(offsets):
                return
            self._transaction(producer, records, offsets, deadline)
        except KafkaException as error:
            raise self._told(self._failed(error)) from error
        except ServiceUnavailable as error:
            self._told(error)
            raise

    def _told(self, error: SomaError) -> SomaError:
        if self._open_outcome:
            error.details["uncertain"] = True
        return error

    def _ready(self, deadline: float) -> Producer:
        """A producer that has ended whatever an earlier one of this copier left open. One that has heard of trouble is
        given up: its next transaction would wait for a coordinator that it takes for gone."""
        if self._producer is not None:
            self._producer.poll(0)
            if self._writing.last is not None:
                self._producer = None
        if self._producer is None:
            self._writing = Trouble()
            configuration = self._producer_configuration()
            producer = self.client.made(lambda: Producer(configuration))
            _begun(producer, deadline)
            self._writing.over()
            self._producer = producer
        return self._producer

    def _producer_configuration(self) -> dict[str, Any]:
        return {
            **self.client.configuration(self._writing),
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": int(min(max(self.client.timeout_s * 2, 10), 60) * 1000),
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "message.max.bytes": PRODUCER_BYTES,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 65_536,
        }

    def _settled(self, offsets: Mapping[int, int]) -> bool:
        """Whether the transaction whose outcome was open is committed after all."""
        committed = self.cluster.committed(self.group, self.topic, stable=True)
        self._open_outcome = False
        return all(number in committed and committed[number].offset >= offset for number, offset in offsets.items())

    def _transaction(
        self, producer: Producer, records: Sequence[NewRecord], offsets: Mapping[int, int], deadline: float
    ) -> None:
        producer.begin_transaction()
        for record in records:
            self._send(producer, record, deadline)
        items = topic_partitions(self.name, offsets)
        membership = self._membership
        _in_time(lambda left_s: producer.send_offsets_to_transaction(items, membership, left_s), deadline)
        # The commit would send what is left, too; but where that takes too long, nothing is open yet.
        _in_time(lambda left_s: _flushed(producer, left_s), deadline)
        self._open_outcome = True
        _in_time(producer.commit_transaction, deadline)
        self._open_outcome = False

    def _send(self, producer: Producer, record: NewRecord, deadline: float) -> None:
        where = -1 if record.partition is None else record.partition
        name = self.client.on_broker(record.topic)
        headers: Any = [*record.headers] or None
        while True:
            try:
                producer.produce(name, record.value, record.key, where, headers=headers)
            except BufferError:
                producer.poll(0.01)
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
            else:
                return

    def _failed(self, error: KafkaException) -> SomaError:
        """Nothing may stay open: where aborting fails, the next producer of the same id ends the transaction."""
        cause = error.args[0]
        if cause.code() == KafkaError._FATAL and self._producer is not None:
            cause = why_it_ended(self._producer) or cause
        LOGGER.debug("the transaction of %s failed: %s", self.group, cause)
        if self._producer is not None:
            self._abort(self._producer, cause)
        if cause.code() in _FENCED:
            self._open_outcome = False
            return self._fenced(cause.str())
        return self.client.error(cause, self._writing, f"publishing what {self.group} read of {self.topic}")

    def _abort(self, producer: Producer, cause: KafkaError) -> None:
        """A commit that got no answer can't be aborted: it may have happened."""
        if self._open_outcome and cause.txn_requires_abort():
            self._open_outcome = False
        try:
            if cause.fatal() or self._open_outcome:
                raise KafkaException(cause)
            _in_time(producer.abort_transaction, time.monotonic() + self.client.timeout_s / 2)
        except KafkaException as error:
            LOGGER.debug("not aborted, so a new producer ends it: %s", error)
            producer.purge()
            self._producer = None

    def _fenced(self, why: str) -> Fenced:
        self._rewind()
        return Fenced(
            f"another member of {self.group} has taken over {self.topic}: {why}",
            hint="nothing was published; this member goes on with the partitions that are left to it",
        )

    def _rewind(self) -> None:
        """At the committed offsets; what was polled is published no more."""
        super()._rewind()
        self._membership = None

    def close(self) -> None:
        """An open transaction is aborted by the broker when its time is over."""
        producer, self._producer = self._producer, None
        if producer is not None:
            bounded(lambda: producer.flush(_CLOSE_S), _CLOSE_S)
        super().close()


def _flushed(producer: Producer, left_s: float) -> None:
    if producer.flush(left_s):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _begun(producer: Producer, deadline: float) -> None:
    """The coordinator may be changing at the moment."""
    while True:
        try:
            return _in_time(producer.init_transactions, deadline)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def _in_time(call: Callable[[float], object], deadline: float) -> None:
    """Call it with the seconds that are left, in a thread of its own, because librdkafka 2.16 does not always keep to
    them: `send_offsets_to_transaction` waits for ever where the group's coordinator was stopped and started since it
    was last asked for. A call that hangs is left alone, with its producer: the next one of the same id fences it."""
    raised: list[KafkaException] = []
    left_s = max(deadline - time.monotonic(), 0.1)

    def work() -> None:
        try:
            call(left_s)
        except KafkaException as error:
            raised.append(error)

    if not bounded(work, left_s + _GRACE_S):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    if raised:
        raise raised[0]
