"""What consumer groups have committed, asked through consumers that never join them.

The admin client has a call for it, too, but takes the whole process down (a segmentation fault of librdkafka 2.16, in
`rd_kafka_handle_OffsetFetch`) where the broker that led the group answers that it does not any more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient, Trouble, bounded
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.ports import Committed

_CLOSE_S = 1.0
_STABLE_S = 1.0
_CONNECTING_S = 5.0
"""A client that was just made connects first: with TLS and a login on a busy machine that takes more than a second."""


class Asking:
    """A consumer of the group that only asks. One call at a time."""

    def __init__(self, client: KafkaClient, group: str, *, stable: bool) -> None:
        self.trouble = Trouble()
        self.turn = threading.Lock()
        self.answered_at = time.monotonic()
        configuration = client.configuration(self.trouble) | {
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if stable else "read_uncommitted",
        }
        self.consumer = client.made(lambda: Consumer(configuration))


class GroupOffsets:
    """A consumer for each group that was asked about, since a new one costs tens of milliseconds. Safe with threads."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._asking: dict[tuple[str, bool], Asking] = {}

    def committed(self, group: str, name: str, partitions: Iterable[int], *, stable: bool) -> dict[int, Committed]:
        """Of the partitions of the topic that the brokers know as `name`. `stable`: raises ServiceUnavailable while a
        transaction is open that may change them."""
        what = f"reading the offsets of the group {group}"
        items = [TopicPartition(name, number) for number in partitions]
        asking = self._asked(group, stable)
        try:
            with asking.turn:
                found = self._found(asking, items, what, stable)
                asking.answered_at = time.monotonic()
        except ServiceUnavailable:
            self._give_up(asking)
            raise
        unsettled = next((item.error for item in found if item.error is not None), None)
        if unsettled is not None:
            raise self._client.error(unsettled, asking.trouble, what)
        return {item.partition: _committed(item) for item in found if item.offset >= 0}

    def _found(self, asking: Asking, items: list[TopicPartition], what: str, stable: bool) -> list[TopicPartition]:
        def found(at_most_s: float | None) -> list[TopicPartition]:
            return self._client.reach(
                lambda timeout_s: asking.consumer.committed(items, timeout_s),
                lambda: self._listen(asking, what),
                asking.trouble,
                what,
                at_most_s,
            )

        if not stable or asking.trouble.last is not None:
            return found(None)
        try:
            return found(_STABLE_S if asking.trouble.came_through else _CONNECTING_S)
        except ServiceUnavailable as error:
            if asking.trouble.last is not None:
                return found(None)
            if not isinstance(error.__cause__, KafkaException) or error.__cause__.args[0].code() > 0:
                raise
            raise ServiceUnavailable(
                f"{what} failed: a transaction is open that may change them, or the brokers still look them up",
                hint="a transaction that its worker left open is ended by the brokers within a minute",
            ) from error.__cause__

    def _give_up(self, asking: Asking) -> None:
        """It may have lost the brokers for good. But a new one needs a while to connect, so it is not given up sooner
        than after `timeout_s`."""
        if time.monotonic() - asking.answered_at < self._client.timeout_s:
            return
        with self._lock:
            found = [key for key, each in self._asking.items() if each is asking]
            for key in found:
                del self._asking[key]
        if found:
            bounded(asking.consumer.close, _CLOSE_S)

    def _listen(self, asking: Asking, what: str) -> None:
        """A coordinator that may not be asked for is asked for again and again; only a poll tells why."""
        message = asking.consumer.poll(0)
        refused = None if message is None or message.error() is None else message.error()
        if refused is not None:
            error = self._client.error(refused, asking.trouble, what)
            if isinstance(error, ConfigurationError):
                raise error

    def _asked(self, group: str, stable: bool) -> Asking:
        with self._lock:
            if (group, stable) not in self._asking:
                self._asking[group, stable] = Asking(self._client, group, stable=stable)
            return self._asking[group, stable]

    def close(self) -> None:
        with self._lock:
            asking, self._asking = list(self._asking.values()), {}
        for each in asking:
            bounded(each.consumer.close, _CLOSE_S)


def commit_note(rate_per_s: float | None, now: int) -> str:
    """What is written beside a committed offset."""
    return json.dumps({"rate_per_s": rate_per_s, "committed_at": now})


def _committed(item: TopicPartition) -> Committed:
    """Other tools commit too, and write what they like beside the offset."""
    try:
        note = json.loads(item.metadata or "")
        at, rate = note["committed_at"], note["rate_per_s"]
        return Committed(item.offset, int(at), None if rate is None else float(rate))
    except (ValueError, TypeError, KeyError):
        return Committed(item.offset, 0, None)
