"""The addresses of the servers that the tests of a run share: a given one, else Docker's, else a local process's."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from tests.services.postgres import new_database
from tests.services.shared import shared_address


def kafka_address() -> str:
    """The bootstrap list of a broker without access control. Keep apart by `new_topic_prefix`."""
    return _given("KAFKA") or shared_address("kafka")


def postgres_dsn() -> str:
    """The DSN of a new, empty database, another one at each call."""
    return new_database(_given("POSTGRES") or shared_address("postgres"))


def redis_url() -> str:
    """The URL of a Redis. Keep apart by key prefixes."""
    return _given("REDIS") or shared_address("redis")


def registry_url() -> str:
    """The URL of the API that Confluent's registry has too. Keep apart by subjects."""
    return _given("REGISTRY") or shared_address("registry")


def connect_url() -> str:
    """The URL of Kafka Connect's REST interface, at the broker of `kafka_address`. Keep apart by connectors' names."""
    return _given("CONNECT") or shared_address("connect")


def qdrant_url() -> str | None:
    """The URL of a Qdrant, or None where neither an address nor Docker gives one: no package carries the server."""
    try:
        return _given("QDRANT") or shared_address("qdrant")
    except (pytest.skip.Exception, pytest.fail.Exception):
        return None


def new_topic_prefix() -> str:
    """A prefix for topic names, another one at each call."""
    return f"t{uuid4().hex[:12]}."


def _given(server: str) -> str | None:
    return os.environ.get(f"SOMA_TEST_{server}") or None
