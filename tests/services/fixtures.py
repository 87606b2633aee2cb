"""Pytest fixtures for the servers that the tests of a run share (`pytest_plugins = ["tests.services.fixtures"]`)."""

from __future__ import annotations

import pytest

from tests.services import addresses


@pytest.fixture
def kafka_address() -> str:
    """The bootstrap list of the shared broker."""
    return addresses.kafka_address()


@pytest.fixture
def postgres_dsn() -> str:
    """The DSN of a new, empty database of this test."""
    return addresses.postgres_dsn()


@pytest.fixture
def redis_url() -> str:
    """The URL of the shared Redis."""
    return addresses.redis_url()


@pytest.fixture
def registry_url() -> str:
    """The URL of the shared schema registry."""
    return addresses.registry_url()


@pytest.fixture
def connect_url() -> str:
    """The URL of the shared Kafka Connect."""
    return addresses.connect_url()


@pytest.fixture
def qdrant_url() -> str:
    """The URL of a Qdrant; the test is skipped where none can be had."""
    url = addresses.qdrant_url()
    if url is None:
        pytest.skip("no Qdrant server here: give its address in SOMA_TEST_QDRANT, or run Docker")
    return url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for the topics of this test."""
    return addresses.new_topic_prefix()
