"""Redis of a test's own."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from tests.services.folders import server_folder
from tests.services.ports import free_port
from tests.services.processes import OnePort, ServerProcess
from tests.services.required import program


class RedisServer(OnePort):
    """One redis-server on loopback; `settings` are lines of redis.conf. It keeps nothing on disk unless told to."""

    def __init__(self, password: str | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._folder = server_folder(self, "redis")
        chosen = {"save": "", "appendonly": "no", "appendfsync": "always"}
        chosen |= {"requirepass": password} if password else {}
        chosen |= settings or {}
        arguments = [part for name, value in chosen.items() for part in (f"--{name}", value)]
        self.process = ServerProcess(
            [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", *self._place(), *arguments],
            self._folder / "redis.log",
            lambda _: _pong(self.port),
        )
        self._password = password

    @property
    def address(self) -> str:
        """The URL, with the password if there is one."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def _place(self) -> list[str]:
        return ["--dir", str(self._folder)]


def _pong(port: int) -> bool:
    """True once it answers, also when it only asks for a password."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
