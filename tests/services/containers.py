"""The same servers from Docker images, where a Docker engine answers.

No engine runs where these modules were written: this branch was checked against the signatures of testcontainers
only, never run. `SOMA_TEST_NO_DOCKER=1` leaves it out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Protocol

KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.0"
POSTGRES_IMAGE = "postgres:15"
REDIS_IMAGE = "redis:7"
QDRANT_IMAGE = "qdrant/qdrant:v1.18.2"
REGISTRY_IMAGE = "apicurio/apicurio-registry:3.0.9"


class Container(Protocol):
    """A started container."""

    def stop(self) -> object: ...


def engine_answers() -> bool:
    """True if a Docker engine can be used."""
    docker = shutil.which("docker")
    if docker is None or os.environ.get("SOMA_TEST_NO_DOCKER") == "1":
        return False
    try:
        command = [docker, "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def start_container(server: str) -> tuple[Container, str]:
    """Start the container of "kafka", "postgres", "redis", "qdrant" or "registry"; it and its address."""
    return CONTAINERS[server]()


def _kafka() -> tuple[Container, str]:
    from testcontainers.kafka import KafkaContainer

    container = KafkaContainer(KAFKA_IMAGE).with_kraft()
    container.with_env("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
    container.with_env("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000")
    container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    container.start()
    return container, container.get_bootstrap_server()


def _postgres() -> tuple[Container, str]:
    from testcontainers.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES_IMAGE, username="soma", dbname="postgres", driver=None)
    container.start()
    return container, container.get_connection_url()


def _redis() -> tuple[Container, str]:
    from testcontainers.redis import RedisContainer

    container = RedisContainer(REDIS_IMAGE)
    container.start()
    return container, f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"


def _qdrant() -> tuple[Container, str]:
    from testcontainers.qdrant import QdrantContainer

    container = QdrantContainer(QDRANT_IMAGE)
    container.start()
    return container, f"http://{container.rest_host_address}"


def _registry() -> tuple[Container, str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    waiting = HttpWaitStrategy(8080, "/apis/ccompat/v7/subjects").for_status_code(200)
    container = DockerContainer(REGISTRY_IMAGE).with_exposed_ports(8080).waiting_for(waiting)
    container.start()
    host, port = container.get_container_host_ip(), container.get_exposed_port(8080)
    return container, f"http://{host}:{port}/apis/ccompat/v7"


CONTAINERS = {"kafka": _kafka, "postgres": _postgres, "redis": _redis, "qdrant": _qdrant, "registry": _registry}
