"""Real servers for tests: a given address, else Docker, else a local process.

Shared by all tests of a run, in all its processes; started at first use, gone when the run ends:

    kafka_address() -> str          bootstrap list; auto-creation of topics is off; no access control
    postgres_dsn() -> str           a new empty database at each call
    redis_url() -> str
    connect_url() -> str            Kafka Connect with Debezium's JDBC sink, at the same broker
    registry_url() -> str           Apicurio, by the API that Confluent's registry has too
    qdrant_url() -> str | None      None where none can be had: no package carries the server
    new_topic_prefix() -> str       unique at each call

As pytest fixtures of the same names (and `topic_prefix`) in `tests.services.fixtures`. Addresses are given in
SOMA_TEST_KAFKA, _POSTGRES, _REDIS, _QDRANT, _REGISTRY, _CONNECT; SOMA_TEST_NO_DOCKER=1 leaves Docker out. With
SOMA_REQUIRE_SERVICES=1 a server that cannot be had fails the test, otherwise it is skipped, both with a message that
names what is missing.

A test's own, always local processes, to be stopped, killed, paused and started again on the same port and data; each
is a context manager that starts it and has `.address`, `.start()`, `.stop()`, `.kill()`, `.pause()`, `.resume()`:

    KafkaCluster(brokers=1 | 3, settings={}, users={}, jvm=(...))    kafka.py; one broker by number: .kill(1);
                                                                     TLS, passwords and ACLs with users
    PostgresServer(durable=True, password=None, settings={})         postgres.py; .backup(), .put_back()
    RedisServer(password=None, settings={})                          redis.py
    RegistryServer()                                                 registry.py
    ConnectServer(kafka, settings={}, plugins=None)                  connect.py
    new_database(dsn) -> str                                         a new empty database of that server

    with KafkaCluster(brokers=3) as kafka:
        ...produce to kafka.address...
        kafka.kill(0)
        ...
        kafka.start(0)

Own servers end with the thread that started them, so start them from the main thread.
"""

from tests.services.addresses import (
    connect_url,
    kafka_address,
    new_topic_prefix,
    postgres_dsn,
    qdrant_url,
    redis_url,
    registry_url,
)
from tests.services.connect import ConnectServer
from tests.services.kafka import KafkaCluster
from tests.services.postgres import PostgresServer, new_database
from tests.services.redis import RedisServer
from tests.services.registry import RegistryServer

__all__ = [
    "ConnectServer",
    "KafkaCluster",
    "PostgresServer",
    "RedisServer",
    "RegistryServer",
    "connect_url",
    "kafka_address",
    "new_database",
    "new_topic_prefix",
    "postgres_dsn",
    "qdrant_url",
    "redis_url",
    "registry_url",
]
