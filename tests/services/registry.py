"""Apicurio Registry of a test's own: schemas in memory, gone when it stops."""

from __future__ import annotations

import urllib.request
from typing import Self

from tests.services.folders import server_folder
from tests.services.jars import jars
from tests.services.ports import free_port, give_back
from tests.services.processes import ServerProcess
from tests.services.required import program

COMPATIBLE_API = "/apis/ccompat/v7"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RegistryServer:
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

    def start(self) -> Self:
        """Start, or start again on the same port, without the schemas it had."""
        self.process.start()
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        give_back(self.port)


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/subjects", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
