"""PostgreSQL of a test's own, and new databases on any server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from tests.services.folders import server_folder
from tests.services.ports import free_port
from tests.services.processes import OnePort, ServerProcess, tied
from tests.services.required import StartFailed, program

USER = "soma"


class PostgresServer(OnePort):
    """One PostgreSQL on loopback; `settings` are lines of postgresql.conf.

    `durable=False` gives up what a crash of the machine would need (fsync), for speed. With a password, clients
    prove it by SCRAM; without one everybody is let in. As root, the server runs as `postgres` or `nobody`.
    """

    def __init__(
        self, durable: bool = True, password: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self._password = password
        self._user = _unprivileged()
        self._folder = server_folder(self, "postgres")
        self.data = self._folder / "data"
        chosen = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "logging_collector": "off",
        }
        chosen |= {} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        chosen |= settings or {}
        arguments = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        self.process = ServerProcess(
            [program("postgres"), "-D", str(self.data), *arguments],
            self._folder / "postgres.log",
            lambda _: self._accepts(),
            user=self._user,
            stop_signal=signal.SIGINT,
        )

    @property
    def address(self) -> str:
        """The DSN of the database `postgres`; `new_database` makes one for a test from it."""
        secret = f":{self._password}" if self._password else ""
        return f"postgresql://{USER}{secret}@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        """Start, or start again on the same port and data."""
        if not self.data.exists():
            self._create()
        return super().start()

    def backup(self) -> Path:
        """A copy of the data as of now, for `put_back`. The server must be stopped."""
        copy = self._folder / f"backup-{uuid4().hex}"
        subprocess.run(["cp", "-a", str(self.data), str(copy)], check=True)
        return copy

    def put_back(self, backup: Path) -> None:
        """Replace the data with those of a backup. The server must be stopped."""
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", str(backup), str(self.data)], check=True)

    def _create(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password or "unused")
        self.data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self.data, self._user)
            shutil.chown(secret, self._user)
        method = "scram-sha-256" if self._password else "trust"
        command = [program("initdb"), "-D", str(self.data), "-U", USER, "-A", method, f"--pwfile={secret}"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(tied(command, self._user), cwd="/", capture_output=True, text=True)
        secret.unlink()
        if done.returncode != 0:
            raise StartFailed(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _accepts(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.address, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def new_database(server: str) -> str:
    """The DSN of a new, empty database on the server with this DSN, of the same user."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    name = f"soma_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    if "://" in server:
        return urlsplit(server)._replace(path=f"/{name}").geturl()
    return make_conninfo(server, dbname=name)


def _unprivileged() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
