"""Apicurio Registry of a test's own: schemas in memory, gone when it stops."""

from __future__ import annotations

import urllib.request

from tests.services.folders import server_folder
from tests.services.jars import jars
from tests.services.ports import free_port
from tests.services.processes import OnePort, ServerProcess
from tests.services.required import program

COMPATIBLE_API = "/apis/ccompat/v7"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RegistryServer(OnePort):
    """One Apicurio on loopback."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = server_folder(self, "registry")
        jar = next(jars("registry").glob("apicurio-registry-app-*-runner.jar"))
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self.process = ServerProcess(
            [program("java"), *options, "-jar", str(jar)],
            self._folder / "registry.log",
            lambda _: _answers(self.address),
            env={"QUARKUS_HTTP_PORT": str(self.port), "QUARKUS_HTTP_HOST": "127.0.0.1"},
        )

    @property
    def address(self) -> str:
        """The URL of the API that Confluent's registry has too."""
        return f"http://127.0.0.1:{self.port}{COMPATIBLE_API}"


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/subjects", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
