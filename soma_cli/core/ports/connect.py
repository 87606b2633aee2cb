"""Kafka Connect, as far as soma steers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Connect(Protocol):
    """One Connect cluster. `where` is its address without a password."""

    where: str

    def version(self) -> str:
        """Raises ConfigurationError where something else answers."""
        ...

    def plugins(self) -> set[str]:
        """The class names of connectors and transformations that it can load."""
        ...

    def config(self, connector: str) -> dict[str, str] | None:
        """None where there is no such connector."""
        ...

    def put_config(self, connector: str, config: Mapping[str, str]) -> None:
        """Make the connector, or change it. Raises ConfigurationError where the configuration is refused."""
        ...

    def status(self, connector: str) -> dict[str, Any] | None:
        """As Connect tells it: {"connector": {"state"...}, "tasks": [{"id", "state", "trace"...}]}."""
        ...

    def start_at(self, connector: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Start the connector again with the given offsets (next to read), by partition, whatever it had committed."""
        ...

    def close(self) -> None: ...
