"""One member of a consumer group. Positions come from `start`; the group's own offsets are a copy for tools."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from soma_cli.core.adapters.event_log.kafka_client import LOGGER, Trouble, bounded
from soma_cli.core.adapters.event_log.kafka_cluster import KafkaCluster, plain, topic_partitions
from soma_cli.core.adapters.event_log.kafka_group_offsets import commit_note
from soma_cli.core.adapters.event_log.kafka_lost import is_lost
from soma_cli.core.adapters.event_log.kafka_reader import READING, as_record
from soma_cli.core.errors import ConfigurationError, LogBehind, ServiceUnavailable, SomaError
from soma_cli.core.instants import now_us
from soma_cli.core.ports import Assigned, Revoked, Run
from soma_cli.core.record import Record

_POLL_INTERVAL_MS = 300_000
_CLOSE_S = 5.0
_SLICE_S = 0.1
_JOINING_S = 0.01
"""A poll does not end when partitions are assigned, so the wait is cut into slices."""
_KEPT = 5
_OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_REJOINS = {KafkaError._MAX_POLL_EXCEEDED, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION}
_PUT_OUT = {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID}
_NOT_OURS = {
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
    KafkaError._STATE,
}


class KafkaConsumer:
    """`Consumer` of one topic. A partition that was assigned stands still until `poll` has asked `start` for its
    offset: where that fails, `poll` raises it, and the next one asks again."""

    def __init__(self, cluster: KafkaCluster, group: str, topic: str, start: Assigned, revoked: Revoked) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.group = group
        self.topic = topic
        self.name = self.client.on_broker(topic)
        self.trouble = Trouble()
        self._start = start
        self._revoked = revoked
        self._next: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._stash: list[Message] = []
        self._paused: set[int] = set()
        """Partitions that the client was told to leave alone. It remembers that when they go to another member, too:
        one that comes back would stand still for ever if nobody told it to go on."""
        self._astray = False
        """Whether records may have been taken that were in no run: then every partition is begun again."""
        self._raised: list[Exception] = []
        self._leaving = False
        self._closed = False
        self._put_out: KafkaError | None = None
        cluster.forget(topic)
        cluster.known(topic)
        self.consumer = self._joined()

    def _joined(self) -> Consumer:
        self._heard_at = time.monotonic()
        configuration = self._configuration()
        consumer = self.client.made(lambda: Consumer(configuration))
        self._handed = handed = set[int]()
        revoke, lost = partial(self._on_revoke, handed), partial(self._on_lost, handed)
        consumer.subscribe([self.name], self._on_assign, revoke, lost)
        return consumer

    def _configuration(self) -> dict[str, Any]:
        settings = self.client.settings
        session_ms = int(settings.session_timeout_s * 1000)
        return {
            **self.client.configuration(self.trouble),
            **READING,
            "group.id": self.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": max(min(session_ms // 3, 3000), 1),
            "max.poll.interval.ms": max(_POLL_INTERVAL_MS, session_ms),
            **({"group.instance.id": settings.instance_id} if settings.instance_id else {}),
        }

    # --- what the group says; called from within poll, keep and close ---

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Nothing is handed to the client before it is known where to begin. To hand it nothing is an answer, too:
        without one it would begin where it likes. (What is paused and goes on it fetches after up to a second.)"""
        if consumer is not self.consumer:
            return
        consumer.incremental_assign([])
        self._waiting |= {item.partition for item in partitions}

    def _on_revoke(self, handed: set[int], consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = frozenset(item.partition for item in partitions)
        if consumer is self.consumer:
            self._tell_revoked(numbers)
        self._drop(handed, consumer, numbers)

    def _tell_revoked(self, numbers: frozenset[int]) -> None:
        self._leaving = True
        try:
            self._revoked(numbers)
        except Exception as error:  # noqa: BLE001 - the group must go on all the same; poll raises it
            self._raised.append(error)
        self._leaving = False

    def _on_lost(self, handed: set[int], consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(handed, consumer, frozenset(item.partition for item in partitions))

    def _drop(self, handed: set[int], consumer: Consumer, numbers: frozenset[int]) -> None:
        """`handed` are the partitions that this client, perhaps an older one, was told to read."""
        consumer.incremental_unassign(plain(self.name, numbers & handed))
        handed -= numbers
        if consumer is self.consumer:
            self._forget(numbers)

    def _forget(self, numbers: frozenset[int]) -> None:
        self._waiting -= numbers
        self._stash = [message for message in self._stash if message.partition() not in numbers]
        for number in numbers:
            self._next.pop(number, None)

    # --- reading ---

    def poll(self, limit: int, timeout_s: float) -> list[Run]:
        """At most `limit` records. Raises what `start` raised; LogBehind and ConfigurationError (`offset_out_of_range`)
        where the log does not hold the offset to read next; ConfigurationError (`member_replaced`) where another member
        has come under this one's instance id."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._settle()
            left = max(deadline - time.monotonic(), 0.0)
            runs = self._runs(self._take(limit, min(left, _SLICE_S if self._next else _JOINING_S)))
            if self._raised:
                self._astray = True
                raise self._raised.pop(0)
            if runs:
                return runs
            self._look_at_trouble()
            if time.monotonic() >= deadline and not self._waiting:
                return []

    def _settle(self) -> None:
        """Begin the partitions that wait, and go on with those that `keep` paused."""
        if self._astray:
            self._rewind()
        if self._waiting:
            self.cluster.forget(self.topic)
        for number in sorted(self._waiting):
            offset = self.begin(number)
            self._check(number, offset)
            self._move(number, offset)
        self._resume()

    def _pause(self) -> None:
        self.consumer.pause(plain(self.name, self._next))
        self._paused |= set(self._next)

    def _resume(self) -> None:
        """Not those that are away: of them the client knows nothing to go on with."""
        if back := self._paused & set(self._next):
            self.consumer.resume(plain(self.name, back))
            self._paused -= back

    def _rewind(self) -> None:
        """Every partition waits to be begun again."""
        self._stash = []
        self._pause()
        self._waiting |= set(self._next)
        self._next.clear()
        self._astray = False

    def begin(self, partition: int) -> int:
        return self._start(partition)

    def _check(self, partition: int, offset: int) -> None:
        beginning, end = self.cluster.partition_bounds(self.topic, partition, offset)
        if offset > end:
            raise LogBehind(
                f"{self.topic}/{partition} ends at {end}, before the stored position {offset}",
                hint="was the log replaced or restored from a backup? See the runbook for a log that was lost",
            )
        if offset < beginning:
            raise ConfigurationError(
                f"{self.topic}/{partition} begins at {beginning}, the stored position is {offset}: records are gone",
                hint="rebuild the projection with `soma replay --into`",
                code="offset_out_of_range",
            )

    def _move(self, partition: int, offset: int) -> None:
        try:
            if not self._placed(TopicPartition(self.name, partition, offset)):
                self._forget(frozenset([partition]))
                return
        except KafkaException as error:
            raise self.client.error(error, self.trouble, f"seeking in {self.topic}/{partition}") from error
        self._waiting.discard(partition)
        self._next[partition] = offset

    def _placed(self, place: TopicPartition) -> bool:
        """Whether the client reads on from there; False where the partition is not this member's any more."""
        if place.partition not in self._handed:
            self.consumer.incremental_assign([place])
            self._handed.add(place.partition)
            return True
        try:
            self.consumer.seek(place)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            if place.partition not in {item.partition for item in self.consumer.assignment()}:
                return False
            # After an offset that the log did not hold, the client reads the partition no more, nor seeks in it.
            self.consumer.incremental_unassign([place])
            self.consumer.incremental_assign([place])
        return True

    def _take(self, limit: int, timeout_s: float) -> list[Message]:
        """What is there; waits for the first message only."""
        try:
            taken, self._stash = self._stash, []
            if not taken:
                first = self.consumer.poll(timeout_s)
                taken = [] if first is None else [first]
            if taken and len(taken) < limit:
                taken += self.consumer.consume(limit - len(taken), 0)
        except KafkaException as error:  # what a callback failed with: the client drops what it had taken
            self._astray = True
            raise self.client.error(error, self.trouble, f"reading {self.topic}") from error
        taken, self._stash = taken[:limit], taken[limit:]
        return taken

    def _runs(self, messages: Iterable[Message]) -> list[Run]:
        """Runs that join up. What is left of partitions that are not ours any more is dropped."""
        starts, records = dict(self._next), dict[int, list[Record]]()
        for message in messages:
            error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is None:
                if number in self._next and offset >= self._next[number]:
                    records.setdefault(number, []).append(as_record(message, self.topic, number, offset))
                    self._next[number] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                if number in self._next:
                    self._next[number] = max(self._next[number], offset)
            else:
                self._event(error, number)
        moved = [number for number, end in self._next.items() if end > starts.get(number, end)]
        if moved:
            self.cluster.reached(self.topic, {number: self._next[number] for number in moved})
            self._heard_at = time.monotonic()
            self.trouble.over()
        return [Run(number, starts[number], self._next[number], records.get(number, ())) for number in moved]

    def _event(self, error: KafkaError, partition: int) -> None:
        if error.code() in _REJOINS:
            LOGGER.info("the group %s takes this member's partitions away: %s", self.group, error)
        elif error.code() in _PUT_OUT:
            self._put_out = error
        elif error.code() in _OUT_OF_RANGE and partition not in self._next:
            LOGGER.debug("%s/%d was not begun yet: %s", self.topic, partition, error)
        elif error.code() in _OUT_OF_RANGE:
            self._begin_again(partition, error)
        else:
            self._raised.append(self.client.error(error, self.trouble, f"reading {self.topic}"))

    def _begin_again(self, partition: int, error: KafkaError) -> None:
        """Where `start` says by now: for a position that was kept elsewhere, that is where the records were deleted."""
        offset = self._next[partition]
        self._waiting.add(partition)
        try:
            self._check(partition, offset)
        except ConfigurationError as found:
            if found.code != "offset_out_of_range":
                self._raised.append(found)
        except SomaError as found:
            self._raised.append(found)
        else:
            self._raised.append(
                self.client.error(error, self.trouble, f"reading {self.topic}/{partition} from {offset}")
            )

    def _look_at_trouble(self) -> None:
        """Brokers that are away are silent: whoever gets nothing after an error, or for `timeout_s`, asks whether they
        answer. A client that was put out for good is silent, too: it says so once."""
        if self._put_out is not None:
            raise self._replaced(self._put_out)
        silent = time.monotonic() - self._heard_at > self.client.timeout_s
        if self.trouble.last is None and self.trouble.refusal is None and not silent:
            return
        try:
            self.client.reach(self._ask, lambda: None, self.trouble, f"reading {self.topic}")
        except ServiceUnavailable:
            if is_lost(self.client, self._ask):
                self._join_anew()
            raise
        self._heard_at = time.monotonic()

    def _ask(self, timeout_s: float) -> object:
        return self.consumer.list_topics(self.name, timeout=timeout_s)

    def _join_anew(self) -> None:
        """As another member. What this one had is assigned again, as soon as the group misses it."""
        LOGGER.warning("the client that reads %s for %s has lost the brokers; it is made anew", self.topic, self.group)
        self._forget(self.assigned())
        self._paused = set()
        self.trouble = Trouble()
        lost, self.consumer = self.consumer, self._joined()
        bounded(lost.close, _CLOSE_S)

    def _replaced(self, error: KafkaError) -> ConfigurationError:
        name = self.client.settings.instance_id
        who = f"another worker came under its instance id `{name}`" if name else error.str()
        return ConfigurationError(
            f"this worker is out of the group {self.group} for good: {who}",
            hint="give each worker that runs a name of its own with --instance-id (log.instance_id), or none",
            code="member_replaced",
        )

    def keep(self) -> None:
        """A message that comes is kept for the next `poll`; with some, the partitions stand still meanwhile. Not
        before: what goes on again the client fetches after up to a second."""
        if len(self._stash) >= _KEPT:
            self._pause()
        try:
            message = self.consumer.poll(0)
        except KafkaException as error:
            self._astray = True
            raise self.client.error(error, self.trouble, f"staying in {self.group}") from error
        if message is not None:
            self._stash.append(message)

    def assigned(self) -> frozenset[int]:
        return frozenset(self._next) | self._waiting

    def seek(self, partition: int, offset: int) -> None:
        """Nothing happens where the partition is not this member's any more."""
        if partition in self.assigned():
            self._stash = [message for message in self._stash if message.partition() != partition]
            self._move(partition, offset)

    # --- positions ---

    def commit(self, offsets: Mapping[int, int], rate_per_s: float | None = None) -> None:
        """What the group refuses, because partitions have moved on, is no failure: the stored position is the truth.

        Raises ConfigurationError (`member_replaced`) like `poll`.
        """
        mine = {number: offset for number, offset in offsets.items() if number in self._next}
        if not mine:
            return
        items = topic_partitions(self.name, mine, commit_note(rate_per_s, now_us()))
        if self._leaving:
            # It goes out before the request to join again. To wait for the answer here would block the client.
            try:
                self.consumer.commit(offsets=items, asynchronous=True)
            except KafkaException as failed:
                LOGGER.debug("not committed: %s", failed)
            return
        outcome: list[KafkaException] = []
        if not bounded(lambda: self._commit(items, outcome), self.client.timeout_s):
            raise self.client.unreachable(self.trouble, f"committing offsets of {self.group}")
        for error in outcome:
            if error.args[0].code() in _PUT_OUT:
                raise self._replaced(error.args[0]) from error  # to try again would be for ever
            if error.args[0].code() not in _NOT_OURS:
                raise self.client.error(error, self.trouble, f"committing offsets of {self.group}") from error
            LOGGER.debug("not committed: %s", error)

    def _commit(self, items: list[TopicPartition], outcome: list[KafkaException]) -> None:
        try:
            done = self.consumer.commit(offsets=items, asynchronous=False)
            outcome += [KafkaException(item.error) for item in done or [] if item.error is not None]
        except KafkaException as error:
            outcome.append(error)

    def close(self) -> None:
        """Leaves the group; commits nothing. Within a few seconds, also where the brokers are away."""
        if not self._closed:
            self._closed = True
            self._revoked = _nobody
            if not bounded(self.consumer.close, _CLOSE_S):
                LOGGER.warning("the brokers did not hear that this member leaves %s", self.group)


def _nobody(partitions: frozenset[int]) -> None:
    """A member that leaves of its own accord has committed what it wants."""
