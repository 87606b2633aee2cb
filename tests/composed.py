"""docker-compose.dev.yml as data, for the tests: anchors and merges resolved, variables filled in from .env.example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docker-compose.dev.yml").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")


def env_file(path: Path) -> dict[str, str]:
    """The assignments of an env file without quoting or expansion."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


ENV = env_file(ROOT / ".env.example")


def filled(value: Any) -> Any:
    """`value` as containers get it."""
    if isinstance(value, dict):
        return {key: filled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: ENV.get(found[1], found[0]), value).replace("$$", "$")
    return value


COMPOSE: dict[str, Any] = filled(yaml.safe_load(TEXT))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
"""The services that run soma."""

_ADDRESSES = re.compile(r"listener|advertised|voters|^node\.id$|^log\.dirs$|^process\.roles$")


def broker_settings() -> dict[str, str]:
    """What the Kafka container is told, as lines of server.properties, without addresses and places."""
    given = SERVICES["kafka"]["environment"].items()
    lines = {name[6:].lower().replace("_", "."): value for name, value in given if name.startswith("KAFKA_")}
    return {name: value for name, value in lines.items() if name != "heap.opts" and not _ADDRESSES.search(name)}
