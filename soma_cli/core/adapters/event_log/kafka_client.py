"""What every client of the brokers shares: its configuration, what it hears of trouble, and how errors are told.

Clients do not survive a fork: a process that forks makes its log anew.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from soma_cli.core.adapters.event_log.kafka_listener import mismatch
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.settings import LogSettings
from soma_cli.core.settings_catalogue import without_password

LOGGER = logging.getLogger("soma.kafka")
"""The client library's own words. They reach a terminal only where someone attaches a handler."""
LOGGER.addHandler(logging.NullHandler())
LOGGER.propagate = False
LOGGER.addFilter(lambda line: "enable.gapless.guarantee" not in line.getMessage())
"""It is chosen on purpose; the warning that it is young would come with every producer."""
_SECURITY = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED}
_SECURITY |= {KafkaError.UNSUPPORTED_SASL_MECHANISM, KafkaError.ILLEGAL_SASL_STATE}
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Read, Write, Describe and DescribeConfigs on the topic, Create to make it",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Write on the topic (before Kafka 2.8 IdempotentWrite on the cluster)",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Write and Describe on the transactional id",
}
_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_WRONG = {KafkaError._INVALID_ARG, KafkaError.POLICY_VIOLATION, KafkaError.UNSUPPORTED_VERSION}
_SERVERS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.%]+\])(:\d{1,5})?")
_FATAL_WITHIN_S = 1.0
_AROUND_THE_REASON = re.compile(r"^(\S+://)?\S+:\d+/\w+: |Connect to \S+ failed: | \(after \d+ms in state .*$")
T = TypeVar("T")


class Trouble:
    """The errors that a client reported by itself. A refused login stays: no retry mends it. That all brokers are down
    tells less than what came before it."""

    def __init__(self) -> None:
        self.count = 0
        self.last: KafkaError | None = None
        self.refusal: KafkaError | None = None
        self.came_through = False

    def __call__(self, error: KafkaError) -> None:
        LOGGER.debug("%s", error)
        self.count += 1
        if self.last is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.last = error
        if error.code() in _SECURITY:
            self.refusal = error

    def over(self) -> None:
        """The brokers answered."""
        self.last = self.refusal = None
        self.came_through = True


class KafkaClient:
    """The settings of the log as its clients need them, and its errors in soma's words."""

    def __init__(self, settings: LogSettings) -> None:
        if not settings.bootstrap_servers:
            raise ConfigurationError(
                "log.kind is kafka, but there is no log.bootstrap_servers",
                hint="set log.bootstrap_servers (SOMA_LOG__BOOTSTRAP_SERVERS) to host:port of a broker",
            )
        if not all(_SERVERS.fullmatch(server.strip()) for server in settings.bootstrap_servers.split(",")):
            raise ConfigurationError(
                f"log.bootstrap_servers is {without_password(settings.bootstrap_servers)}, which is no list of brokers",
                hint="write host:port, several separated by commas; how to talk to them is log.security.protocol",
            )
        if settings.security.protocol.startswith("SASL_") and not settings.security.mechanism:
            raise ConfigurationError(
                f"log.security.protocol is {settings.security.protocol}, but there is no log.security.mechanism",
                hint="set log.security.mechanism (SOMA_LOG__SECURITY__MECHANISM) to what the brokers ask for, such as "
                "SCRAM-SHA-512, and log.security.username and log.security.password",
                code="log_security",
            )
        self.settings = settings
        self.servers = settings.bootstrap_servers
        self.timeout_s = settings.timeout_s

    def configuration(self, trouble: Trouble, **more: object) -> dict[str, Any]:
        """Settings of a client; `more` names further ones with `_` for `.`."""
        timeout_ms = max(int(self.timeout_s * 1000), 10)
        return {
            "bootstrap.servers": self.servers,
            "client.id": "soma",
            "logger": LOGGER,
            "error_cb": trouble,
            "allow.auto.create.topics": False,
            "socket.nagle.disable": True,
            "socket.timeout.ms": min(timeout_ms, 300_000),
            "socket.connection.setup.timeout.ms": min(max(timeout_ms, 1000), 30_000),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            **self._security(),
            **{name.replace("_", "."): value for name, value in more.items()},
        }

    def _security(self) -> dict[str, Any]:
        security = self.settings.security
        chosen = {
            "security.protocol": security.protocol,
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.username,
            "sasl.password": security.password,
            "ssl.ca.location": security.ca_file and str(security.ca_file),
            "ssl.certificate.location": security.cert_file and str(security.cert_file),
            "ssl.key.location": security.key_file and str(security.key_file),
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def on_broker(self, topic: str) -> str:
        return self.settings.topic_prefix + topic

    def ours(self, name: str) -> str:
        return name.removeprefix(self.settings.topic_prefix)

    def made(self, make: Callable[[], T]) -> T:
        """Make a client; settings that it refuses (a missing certificate file) are a ConfigurationError."""
        try:
            return make()
        except (KafkaException, ValueError) as error:
            raise ConfigurationError(
                f"the Kafka client refuses the settings of the log: {error}", hint="look at log.security.* and log.*"
            ) from error

    def result(self, future: Future[T], trouble: Trouble, what: str) -> T:
        """What the brokers answered. Raises what `error` makes of the rest."""
        try:
            found = future.result(self.timeout_s + 1)
        except FutureTimeout as error:
            raise self.unreachable(trouble, what) from error
        except KafkaException as error:
            raise self.error(error, trouble, what) from error
        trouble.over()
        return found

    def error(self, error: KafkaException | KafkaError, trouble: Trouble, what: str) -> SomaError:
        """The error in soma's words; `what` is what was being done, such as "reading memory.events"."""
        cause = error.args[0] if isinstance(error, KafkaException) else error
        code = cause.code()
        if trouble.refusal is not None or code in _SECURITY:
            return self._refused(trouble.refusal or cause)
        if code in _RIGHTS:
            return ConfigurationError(
                f"{what} failed: the brokers at {self.servers} give this user no right to it ({cause.name()})",
                hint=f"grant {_RIGHTS[code]}, for example with kafka-acls.sh",
                code="not_authorized",
            )
        if code in _MISSING:
            return self.missing(what)
        if code in _TOO_LARGE:
            return too_large(what)
        if code == KafkaError.INVALID_REPLICATION_FACTOR:
            return ConfigurationError(
                f"{what} failed: {_sentence(cause)}",
                hint="start the other brokers, or set log.replication_factor to at most as many as there are",
                code="too_few_brokers",
            )
        if code in _WRONG:
            return ConfigurationError(f"{what} failed: {_sentence(cause)}", hint="look at the settings log.*")
        return self.unreachable(trouble, what, cause)

    def _refused(self, cause: KafkaError) -> ConfigurationError:
        return ConfigurationError(
            f"the brokers at {self.servers} refuse the connection{_reason(cause)}",
            hint="look at log.security.* (protocol, mechanism, username, password, ca_file, cert_file, key_file)",
            code="log_security",
        )

    def missing(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{what} failed: there is no such topic at {self.servers}; run `soma init`",
            hint="`soma init` makes the topics; if it ran, look at log.bootstrap_servers and log.topic_prefix",
            code="topic_missing",
        )

    def unreachable(self, trouble: Trouble, what: str, cause: KafkaError | None = None) -> SomaError:
        if trouble.refusal is not None:
            return self._refused(trouble.refusal)
        if cause is not None and cause.code() > 0:
            message = f"{what} failed: the Kafka brokers at {self.servers} say: {cause.str()}"
            return ServiceUnavailable(message, hint="`soma doctor` looks at the brokers; trying again may be enough")
        reason = _reason(trouble.last or cause)
        return ServiceUnavailable(
            f"{what} failed: no answer from the Kafka brokers at {self.servers} within {self.timeout_s:g} s{reason}",
            hint="are they running, and are log.bootstrap_servers and log.security.protocol right?",
        )

    def _no_way(self, error: KafkaException, trouble: Trouble, what: str) -> SomaError:
        told = self.error(error, trouble, what)
        unmet = isinstance(told, ServiceUnavailable) and not trouble.came_through
        return (mismatch(self.settings) if unmet else None) or told

    def reach(
        self,
        ask: Callable[[float], T],
        poll: Callable[[], object],
        trouble: Trouble,
        what: str,
        at_most_s: float | None = None,
    ) -> T:
        """Call `ask(timeout_s)` until it answers, for `timeout_s` at most, or less where that is given; a refused login
        ends it at once."""
        deadline = time.monotonic() + min(self.timeout_s, at_most_s or self.timeout_s)
        while True:
            try:
                found = ask(max(min(deadline - time.monotonic(), 1.0), 0.05))
            except KafkaException as error:
                poll()
                last = error.args[0]
                hopeless = last.code() not in (
                    KafkaError._TRANSPORT,
                    KafkaError._TIMED_OUT,
                    KafkaError._ALL_BROKERS_DOWN,
                )
                if hopeless or trouble.refusal is not None or time.monotonic() >= deadline:
                    raise self._no_way(error, trouble, what) from error
                continue
            trouble.over()
            return found


def _reason(error: KafkaError | None) -> str:
    """What is worth telling, without the client's own place and time; of its own failures their text says nothing."""
    if error is None or error.str().endswith(("Local: Broker transport failure", "Local: Timed out")):
        return ""
    if error.code() == KafkaError._ALL_BROKERS_DOWN:
        return ""
    return f": {_AROUND_THE_REASON.sub('', error.str())}"


def _sentence(error: KafkaError) -> str:
    return error.str().rstrip(".")


def too_large(what: str) -> ValueRefused:
    return ValueRefused(
        f"{what} failed: the record is larger than the brokers take",
        hint="store less in one event, or raise max.message.bytes of the topic",
        code="too_large",
    )


def why_it_ended(producer: Producer, known: Callable[[], bool] = lambda: False) -> KafkaError | None:
    """A producer that can't go on refuses records with `_FATAL`. The cause comes once, out of `poll`, maybe a moment
    later; None where another call has had it, or it is `known`, which another thread may see to meanwhile."""
    deadline = time.monotonic() + _FATAL_WITHIN_S
    while time.monotonic() < deadline and not known():
        try:
            producer.poll(0.01)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            return cause
    return None


def bounded(work: Callable[[], object], timeout_s: float) -> bool:
    """Run what may hang in a thread of its own; whether it ended in time."""
    thread = threading.Thread(target=work, name="soma-kafka-bounded", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return not thread.is_alive()
