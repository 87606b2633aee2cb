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

    def make(self, connector: str, config: Mapping[str, str]) -> None:
        """Make the connector, stopped where Connect can do that. Raises ConfigurationError where it refuses."""
        ...

    def change(self, connector: str, config: Mapping[str, str]) -> None:
        """Give a connector another configuration. Raises ConfigurationError where it is refused."""
        ...

    def stop(self, connector: str) -> None:
        """End its tasks, and keep it from starting until `start_at`."""
        ...

    def status(self, connector: str) -> dict[str, Any] | None:
        """As Connect tells it: {"connector": {"state"...}, "tasks": [{"id", "state", "trace"...}]}."""
        ...

    def start_at(self, connector: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Start a stopped connector with the given offsets (next to read), by partition, whatever it had committed."""
        ...

    def close(self) -> None: ...
