"""Wrong passwords, missing rights and listeners of another kind: exit 3 at once, for workers too, no password told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.e2e.cluster_cli.faults import NEED_LOG, READING_WORKERS, SECRET, WORKERS, Installation, failed
from tests.e2e.conftest import wait_until
from tests.services import KafkaCluster, PostgresServer, postgres_dsn
from tests.services.kafka_access import MECHANISM

RIGHT = "right-password"
HASTE = {"SOMA_LOG__TIMEOUT_S": "1"}
"""For brokers that take the connection and say nothing."""
READER = "reader"


class Guarded(Installation):
    """On a broker with users `full`, who may everything, `reader`, who may read, and `nobody`."""

    def __init__(self, folder: Path, kafka: KafkaCluster) -> None:
        super().__init__(folder, kafka.address, postgres_dsn())
        assert kafka.access is not None
        self.certificate = str(kafka.access.certificate)
        self.open_address = kafka.open_address
        self.settings |= self.login("full")

    def login(self, user: str, password: str = RIGHT) -> dict[str, str]:
        return {
            "SOMA_LOG__SECURITY__PROTOCOL": "SASL_SSL",
            "SOMA_LOG__SECURITY__MECHANISM": MECHANISM,
            "SOMA_LOG__SECURITY__USERNAME": user,
            "SOMA_LOG__SECURITY__PASSWORD": password,
            "SOMA_LOG__SECURITY__CA_FILE": self.certificate,
        }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with KafkaCluster(users=dict.fromkeys(("full", READER, "nobody"), RIGHT)) as kafka:
        soma = Guarded(tmp_path_factory.mktemp("guarded"), kafka)
        kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
        all_rights = [(kind, "full", AclOperation.ALL) for kind in kinds]
        read = [(ResourceType.TOPIC, READER, right) for right in (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)]
        admin = AdminClient({"bootstrap.servers": kafka.open_address})
        bindings = [
            AclBinding(kind, "*", ResourcePatternType.LITERAL, f"User:{user}", "*", right, AclPermissionType.ALLOW)
            for kind, user, right in [*all_rights, *read]
        ]
        for future in admin.create_acls(bindings).values():
            future.result(30)
        # The controller has taken the rights; the broker hears of them a moment later.
        wait_until(lambda: soma.inline("init").returncode == 0, "a user with all rights")
        yield soma


def test_with_the_right_password_it_works(guarded: Guarded) -> None:
    assert guarded.inline("store", "--text", "x").returncode == 0


@pytest.mark.parametrize("name", ["store", "produce", "init", "lag", "dlq list"])
def test_a_wrong_password_for_the_broker(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, NEED_LOG[name], guarded.login("full", SECRET))
    assert (code, error["code"]) == (3, "log_security")
    assert guarded.settings["SOMA_LOG__BOOTSTRAP_SERVERS"] in error["message"]
    assert "invalid credentials" in error["message"]
    assert "log.security." in error["hint"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_with_a_wrong_password_ends_at_once(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, WORKERS[name], guarded.login("full", SECRET))
    assert (code, error["code"]) == (3, "log_security")


@pytest.mark.parametrize("name", ["store", "lag"])
def test_a_plain_client_at_a_listener_with_tls(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, NEED_LOG[name], {"SOMA_LOG__SECURITY__PROTOCOL": "PLAINTEXT", **HASTE})
    assert (code, error["code"]) == (3, "log_security")
    assert "speaks TLS, but log.security.protocol is PLAINTEXT" in error["message"]


@pytest.mark.parametrize("name", ["store", "lag"])
def test_a_client_with_tls_at_a_plain_listener(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, NEED_LOG[name], {"SOMA_LOG__BOOTSTRAP_SERVERS": guarded.open_address})
    assert (code, error["code"]) == (3, "log_security")
    assert "speaks without TLS, but log.security.protocol is SASL_SSL" in error["message"]


def test_an_authority_that_is_not_trusted(guarded: Guarded) -> None:
    code, error = failed(guarded, ["lag"], {"SOMA_LOG__SECURITY__CA_FILE": "/etc/ssl/certs/ca-certificates.crt"})
    assert (code, error["code"]) == (3, "log_security")
    assert "ca_file" in error["hint"]


@pytest.mark.parametrize("name", ["store", "produce"])
def test_a_user_that_may_not_write_the_topic(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, NEED_LOG[name], guarded.login(READER))
    assert (code, error["code"]) == (3, "not_authorized")
    assert "memory.events" in error["message"]
    assert "kafka-acls.sh" in error["hint"]


@pytest.mark.parametrize("name", ["lag", "consume kv", "consume audit"])
def test_a_user_that_may_not_use_the_group(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, {**NEED_LOG, **WORKERS}[name], guarded.login(READER))
    assert (code, error["code"]) == (3, "not_authorized")


@pytest.mark.parametrize("name", ["lag", "replay", "consume kv"])
def test_a_user_that_may_not_even_look(guarded: Guarded, name: str) -> None:
    code, error = failed(guarded, {**NEED_LOG, **WORKERS}[name], guarded.login("nobody"))
    assert (code, error["code"]) == (3, "not_authorized")
    assert "memory.events" in error["message"]


@pytest.fixture(scope="module")
def locked() -> Iterator[PostgresServer]:
    with PostgresServer(durable=False, password=RIGHT) as postgres:
        yield postgres


@pytest.mark.parametrize("arguments", [["list"], ["lag"], ["init"], *READING_WORKERS.values()])
def test_a_wrong_password_for_postgres(made: Installation, locked: PostgresServer, arguments: list[str]) -> None:
    fault = {"SOMA_STORE__DSN": locked.address.replace(RIGHT, SECRET), "SOMA_STORE__TIMEOUT_S": "10"}
    code, error = failed(made, arguments, fault)
    assert (code, error["code"]) == (3, "store_login")
    assert f"127.0.0.1:{locked.port}/postgres" in error["message"]
    assert "password authentication failed" in error["message"]
    assert "store.dsn" in error["hint"]


def test_a_role_that_may_only_read(cluster: Installation) -> None:
    """What reads goes on; the worker ends, and doctor names the rights."""
    dsn, role = cluster.settings["SOMA_STORE__DSN"], f"r{cluster.prefix.strip('.')}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    fault = {"SOMA_STORE__DSN": f"{dsn}?user={role}&password={SECRET}", "SOMA_STORE__TIMEOUT_S": "10"}
    assert cluster.inline("store", "--text", "x").returncode == 0
    assert cluster.inline("list", env=fault).returncode == 0
    code, error = failed(cluster, ["consume", "kv"], fault)
    assert (code, error["code"]) == (3, "store_forbidden")
    assert "permission denied" in error["message"]
    assert "store.dsn" in error["hint"]
    looked = cluster.inline("doctor", env=fault)
    assert looked.returncode == 7
    assert "the user of `store.dsn` lacks INSERT on access" in looked.stdout, looked.stdout
