"""A client that has lost the brokers for good.

librdkafka forgets every broker that the metadata leave out, and the last one that shuts down may leave out itself, too.
Such a client connects to nothing any more and reports no error: it waits for ever. Only a new one helps.
"""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient, Trouble
from soma_cli.core.errors import ServiceUnavailable

_ANSWER_S = 2.0
_RECONNECTED_S = 3.0
"""One that merely had to connect again, where the brokers have just come back, has done so within this."""


def is_lost(client: KafkaClient, ask: Callable[[float], object]) -> bool:
    """Whether the brokers answer a new client, and after that still not this one (`ask(timeout_s)`)."""
    configuration = client.configuration(Trouble())
    fresh = client.made(lambda: AdminClient(configuration))
    try:
        fresh.list_topics(timeout=_ANSWER_S)
    except KafkaException:
        return False
    try:
        ask(_RECONNECTED_S)
    except KafkaException:
        return True
    return False


def may_be_lost(error: ServiceUnavailable) -> bool:
    """Whether the brokers gave no answer; what they refused, and that a partition has no leader, they have answered."""
    cause = error.__cause__
    code = cause.args[0].code() if isinstance(cause, KafkaException) else -1
    return code < 0 and code != KafkaError._NOENT
