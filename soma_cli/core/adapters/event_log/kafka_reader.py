"""Reading a range of one partition, outside of any group."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient, Trouble, bounded
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster
from soma_cli.core.record import Record

_CHUNK = 2000
_PREFETCH_KBYTES = 16_384
_KEPT = 4
_PEEK_S = 3.0
_NO_TROUBLE = {KafkaError._PARTITION_EOF, KafkaError.GROUP_AUTHORIZATION_FAILED}
"""The client looks up the group that it must be given, though a reader is in none: whether it may does not matter."""
READING = {
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 5,
    "fetch.min.bytes": 1,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 5,
    "queued.max.messages.kbytes": _PREFETCH_KBYTES,
}
"""What every reader needs: nothing of a transaction that did not commit, and no offset that moves by itself."""


class Reader:
    """A consumer of one partition at a time, used by one scan at a time."""

    def __init__(self, client: KafkaClient, **more: str) -> None:
        self.trouble = Trouble()
        configuration = client.configuration(self.trouble) | READING | {"group.id": f"soma-scan-{uuid.uuid4()}"} | more
        self.consumer = client.made(lambda: Consumer(configuration))


class KafkaReaders:
    """The readers that no scan uses at the moment: a new one costs tens of milliseconds. Safe with several threads."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._lock = threading.Lock()
        self._idle: list[Reader] = []
        self._closed = False

    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None) -> Iterator[Record]:
        """As `EventLog.scan`; at most what the log held when it was called."""
        bounds = self._cluster.partition_bounds(topic, partition)
        at, behind = max(start, bounds.beginning), min(end, bounds.end)
        if at >= behind:
            return
        reader = self._take()
        try:
            reader.consumer.assign([TopicPartition(self._client.on_broker(topic), partition, at)])
            for chunk in self._chunks(reader, f"reading {topic}/{partition}"):
                records, done = _records(chunk, topic, partition, behind, key)
                yield from records
                if done:
                    return
        finally:
            self._give_back(reader)

    def _chunks(self, reader: Reader, what: str) -> Iterator[list[Message]]:
        """Raises what the brokers say, and ServiceUnavailable where they are silent for `timeout_s`."""
        deadline = time.monotonic() + self._client.timeout_s
        while True:
            first = reader.consumer.poll(0.1)
            if first is None:
                if reader.trouble.refusal is not None or time.monotonic() > deadline:
                    raise self._client.unreachable(reader.trouble, what)
                continue
            chunk = [first, *reader.consumer.consume(_CHUNK, 0)]
            for message in chunk:
                error = message.error()
                if error is not None and error.code() not in _NO_TROUBLE:
                    raise self._client.error(error, reader.trouble, what)
            reader.trouble.over()
            yield chunk
            deadline = time.monotonic() + self._client.timeout_s

    def appended_at(self, topic: str, partition: int, offset: int) -> int | None:
        """The append time of the first record from there on that an open transaction keeps from readers; None where
        none comes within three seconds."""
        reader = Reader(self._client, **{"isolation.level": "read_uncommitted"})
        try:
            reader.consumer.assign([TopicPartition(self._client.on_broker(topic), partition, offset)])
            message = reader.consumer.poll(_PEEK_S)
            return None if message is None or message.error() is not None else message.timestamp()[1] * 1000
        finally:
            bounded(reader.consumer.close, _PEEK_S)

    def _take(self) -> Reader:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Reader(self._client)

    def _give_back(self, reader: Reader) -> None:
        try:
            reader.consumer.unassign()
        except RuntimeError:
            return
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT and reader.trouble.last is None:
                self._idle.append(reader)
                return
        bounded(reader.consumer.close, self._client.timeout_s)

    def close(self) -> None:
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for reader in idle:
            bounded(reader.consumer.close, self._client.timeout_s)


def _records(
    chunk: list[Message], topic: str, partition: int, behind: int, key: bytes | None
) -> tuple[list[Record], bool]:
    """The chunk's records below `behind`, and whether the range ends in it: offsets may have gaps, so it is a later
    record or the end of the partition that tells."""
    records: list[Record] = []
    for message in chunk:
        offset = message.offset() or 0
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF and offset >= behind:
                return records, True
            continue
        if offset >= behind:
            return records, True
        if key is None or message.key() == key:
            records.append(as_record(message, topic, partition, offset))
        if offset == behind - 1:
            return records, True
    return records, False


def as_record(message: Message, topic: str, partition: int, offset: int) -> Record:
    headers: Any = message.headers()
    return Record(
        topic,
        partition,
        offset,
        message.timestamp()[1] * 1000,
        message.key(),
        message.value(),
        () if headers is None else tuple(headers),
    )
