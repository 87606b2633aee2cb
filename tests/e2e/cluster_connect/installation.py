"""An installation whose events Kafka Connect lands in the store."""

from __future__ import annotations

import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e.cluster.installation import Cluster

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Landed(Cluster):
    """Has a connector of its own, once `soma connect apply` has made it; all that it had go with the block."""

    def __init__(self, folder: Path, kafka: str, dsn: str, connect: str, **settings: object) -> None:
        self._connectors: set[str] = set()
        super().__init__(folder, kafka, dsn, None, connect__url=connect, **settings)
        self.kafka, self.dsn, self.connect = kafka, dsn, connect
        self.choose(connect__connector=f"{self.prefix}landing")

    def choose(self, **settings: object) -> None:
        super().choose(**settings)
        if "connect.connector" in self._chosen:
            self._connectors.add(self.connector)

    @property
    def connector(self) -> str:
        return str(self._chosen["connect.connector"])

    def apply(self) -> dict[str, Any]:
        result: dict[str, Any] = self.json("connect", "apply")
        return result

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query).fetchall()

    def ask(self, method: str, path: str = "") -> None:
        """Something of Connect that is done to the connector."""
        self._ask(method, self.connector + path)

    def _ask(self, method: str, path: str) -> None:
        request = urllib.request.Request(f"{self.connect}/connectors/{path}", method=method)
        _DIRECT.open(request, timeout=30).close()

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        for connector in self._connectors:
            with suppress(OSError):  # Connect is gone, or never had it
                self._ask("DELETE", connector)
