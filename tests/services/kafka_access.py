"""Access control of a test cluster: TLS with a certificate of its own, SCRAM-SHA-256 passwords, ACLs.

Whoever connects without a password (the brokers themselves, and a test that sets up topics and ACLs) is a super user;
that is for servers on loopback only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services.required import program

MECHANISM = "SCRAM-SHA-256"


class Access:
    """The users of a cluster, name -> password, and its certificate, made in `folder`."""

    def __init__(self, users: Mapping[str, str], folder: Path) -> None:
        self.users = dict(users)
        self.certificate = folder / "ca.pem"
        self._key_store = folder / "server.pem"
        self._make_certificate(folder / "key.pem")

    def client(self, user: str, password: str | None = None) -> dict[str, str]:
        """What a librdkafka client of this user sets beside the address; `password` is for a wrong one."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.users[user] if password is None else password,
            "ssl.ca.location": str(self.certificate),
        }

    def format_arguments(self) -> list[str]:
        """What makes `StorageTool format` create the users."""
        return [
            part
            for user, password in self.users.items()
            for part in ("--add-scram", f"{MECHANISM}=[name={user},password={password}]")
        ]

    def broker_settings(self) -> dict[str, str]:
        """The lines of server.properties, for a listener named CLIENT."""
        return {
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.client.{MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.client.ssl.keystore.type": "PEM",
            "listener.name.client.ssl.keystore.location": str(self._key_store),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _make_certificate(self, key: Path) -> None:
        command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-keyout", str(key), "-out", str(self.certificate), "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True)
        self._key_store.write_text(key.read_text() + self.certificate.read_text())
