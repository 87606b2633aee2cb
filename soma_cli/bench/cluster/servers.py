"""The servers that are measured, as bare clients see them."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import psycopg
import redis
from confluent_kafka.admin import AdminClient

from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.settings import Settings

_ANSWER_S = 10.0


def kafka_client(settings: Settings) -> dict[str, Any]:
    """What every client of the brokers needs."""
    security = settings.log.security
    chosen = {
        "bootstrap.servers": settings.log.bootstrap_servers,
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": security.password,
        "ssl.ca.location": security.ca_file and str(security.ca_file),
        "ssl.certificate.location": security.cert_file and str(security.cert_file),
        "ssl.key.location": security.key_file and str(security.key_file),
        "socket.nagle.disable": True,
        "log_level": 0,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def versions(settings: Settings) -> dict[str, str]:
    """What there is to say of each server, and of the client that talks to it. Raises ServiceUnavailable."""
    found = {"Kafka": _kafka(settings), "PostgreSQL": _postgres(settings)}
    return found | ({"Redis": _redis(settings)} if settings.cache.kind == "redis" else {})


def _kafka(settings: Settings) -> str:
    """Brokers do not tell clients their version."""
    try:
        brokers = AdminClient(kafka_client(settings)).list_topics(timeout=_ANSWER_S).brokers
    except confluent_kafka.KafkaException as error:
        raise _away("the brokers", "log.bootstrap_servers", error.args[0].str()) from error
    count = "1 broker" if len(brokers) == 1 else f"{len(brokers)} brokers"
    return f"{count} (librdkafka {confluent_kafka.libversion()[0]})"


def _postgres(settings: Settings) -> str:
    try:
        with psycopg.connect(settings.store.dsn or "", connect_timeout=int(_ANSWER_S)) as connection:
            server = connection.execute("SHOW server_version").fetchone()
    except psycopg.Error as error:
        raise _away("PostgreSQL", "store.dsn", str(error).splitlines()[0]) from error
    return f"{server[0].split()[0] if server else '?'} (psycopg {psycopg.__version__} {psycopg.pq.__impl__})"


def _redis(settings: Settings) -> str:
    try:
        with redis.Redis.from_url(settings.cache.url or "", socket_timeout=_ANSWER_S) as client:
            server = client.info("server")["redis_version"]
    except redis.RedisError as error:
        raise _away("Redis", "cache.url", str(error)) from error
    return f"{server} (redis-py {redis.__version__})"


def _away(server: str, setting: str, reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{server} cannot be measured: {reason}", hint=f"is it running, and is {setting} right? See `soma doctor`"
    )
