"""The baseline's Kafka: the client library as a careful program would use it, and nothing around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from soma_cli.bench.cluster.servers import kafka_client
from soma_cli.bench.comparison import NotHere
from soma_cli.core.event import MemoryEvent
from soma_cli.core.settings import Settings

Delivered = Callable[[KafkaError | None, Message], None]
_SERVE_EVERY = 1000
_FETCH = 2000
_PATIENCE_S = 60.0


def producer(settings: Settings, *, linger_ms: int) -> Producer:
    return Producer(
        kafka_client(settings)
        | {"acks": "all", "enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": linger_ms}
        | {"queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 65_536}
    )


def send(sender: Producer, topic: str, key: str, value: bytes, delivered: Delivered | None) -> None:
    """Waits where the queue is full."""
    told = {} if delivered is None else {"on_delivery": delivered}
    while True:
        try:
            return sender.produce(topic, value, key, **told)  # type: ignore[arg-type]
        except BufferError:
            sender.poll(0.01)


def fill(settings: Settings, topic: str, made: Iterable[MemoryEvent]) -> int:
    """Put these events into the topic. Returns how many; whoever reads them back finds out if some are missing."""
    # Without a callback for each: the client swallows a Ctrl-C that comes while one runs within `flush`.
    sender, count = producer(settings, linger_ms=5), 0
    for count, event in enumerate(made, start=1):
        send(sender, topic, event.id, event.value, None)
        if count % _SERVE_EVERY == 0:
            sender.poll(0)
    if sender.flush(_PATIENCE_S):
        raise NotHere("the brokers did not acknowledge the events")
    return count


def must_succeed(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise NotHere(f"the brokers refuse an event: {error.str()}")


@contextmanager
def reader(settings: Settings, topic: str) -> Iterator[Consumer]:
    """A consumer of all partitions from the beginning, outside of any group."""
    configuration: dict[str, Any] = kafka_client(settings) | {
        "group.id": "soma_bench_bare",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 5,
        "queued.max.messages.kbytes": 16_384,
    }
    with closing(Consumer(configuration)) as consumer:
        partitions = consumer.list_topics(topic, timeout=_PATIENCE_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        yield consumer


def messages(consumer: Consumer, count: int, most: int = _FETCH) -> Iterator[Sequence[Message]]:
    """So many messages, in lists of what is there."""
    deadline = time.monotonic() + _PATIENCE_S
    while count > 0:
        first = consumer.poll(1.0)
        if first is not None:
            found = [first, *consumer.consume(min(most, count) - 1, 0)] if count > 1 else [first]
            count -= len(found)
            deadline = time.monotonic() + _PATIENCE_S
            yield found
        elif time.monotonic() > deadline:
            raise NotHere("the brokers sent nothing")
