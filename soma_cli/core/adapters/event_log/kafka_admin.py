"""The admin client: made when it is first used, made anew when it has lost the brokers, and asked again while what is
asked for changes its broker. Every answer comes within `timeout_s`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient, Trouble
from soma_cli.core.adapters.event_log.kafka_lost import may_be_lost
from soma_cli.core.errors import ServiceUnavailable, SomaError
from soma_cli.core.record import EVENTS_TOPIC

SETTLING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._NOENT,  # so the client says it: "No leaders found"
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
}
_PAUSE_S = 0.02
ASKING_S = 1.0
_FIRST_ANSWER_S = 0.5
"""A leader that does not answer within this is asked for again, and given twice the time: it may be another by then."""
T = TypeVar("T")
K = TypeVar("K")


class KafkaAdmin:
    """One client for all questions, which connects when it is first used. Safe with several threads."""

    def __init__(self, client: KafkaClient) -> None:
        self.client = client
        self.trouble = Trouble()
        self._lock = threading.Lock()
        self._made: AdminClient | None = None

    @property
    def admin(self) -> AdminClient:
        with self._lock:
            made = self._made  # another thread may give it up meanwhile
            if made is None:
                made = self._made = self._connected()
            return made

    def _connected(self) -> AdminClient:
        """With the lock: another thread would ask a client that does not know the brokers yet."""
        configuration, name = self.client.configuration(self.trouble), self.client.on_broker(EVENTS_TOPIC)
        made = self.client.made(lambda: AdminClient(configuration))
        self.client.reach(
            lambda timeout_s: made.list_topics(name, timeout=timeout_s),
            lambda: made.poll(0),
            self.trouble,
            "connecting",
        )
        return made

    def poll(self) -> object:
        made = self._made
        return made.poll(0) if made is not None else None

    def answers(self, send: Callable[[float], Mapping[K, Future[T]]], what: Callable[[K], str]) -> dict[K, T]:
        """What is answered to `send(within_s)`; sent again for `timeout_s` while what is asked for changes its broker,
        or the broker that was asked does not answer: the next time it may be another."""

        def ask(within_s: float) -> dict[K, T]:
            futures = send(within_s)
            try:
                return {key: self.client.result(each, self.trouble, what(key)) for key, each in futures.items()}
            finally:
                self.poll()

        with self.made_anew_if_lost():
            return self.settled(ask, SETTLING | {KafkaError._TIMED_OUT}, self.client.timeout_s / 4)

    @contextmanager
    def made_anew_if_lost(self) -> Iterator[None]:
        """The next question goes to a new admin client where this one got no answer to the last."""
        try:
            yield
        except ServiceUnavailable as error:
            if may_be_lost(error):
                self._made = None
            raise

    def settled(self, ask: Callable[[float], T], settling: Set[int] = SETTLING, first_s: float = _FIRST_ANSWER_S) -> T:
        """Call `ask(within_s)`, again for `timeout_s` while a partition or a group changes the broker that leads it."""
        within_s, deadline = first_s, time.monotonic() + self.client.timeout_s
        while True:
            try:
                return ask(max(min(within_s, deadline - time.monotonic()), _PAUSE_S))
            except SomaError as error:
                left_s = deadline - time.monotonic() - _PAUSE_S
                if code_of(error) not in settling or left_s <= 0:
                    raise
                time.sleep(_PAUSE_S)
                self.look_again(min(left_s, ASKING_S))
            within_s *= 2

    def look_again(self, within_s: float) -> None:
        """Who leads what is remembered by the client, also when a broker has just said that it is wrong."""
        with suppress(KafkaException):
            self.admin.list_topics(timeout=within_s)

    def close(self) -> None:
        """Without the lock: a thread that is still connecting has it for `timeout_s`."""
        self._made = None


def code_of(error: SomaError) -> int | None:
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None
