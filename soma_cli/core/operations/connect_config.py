"""The connector's configuration: the project's file, filled in from the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from soma_cli.core.connect_results import ConfigChange
from soma_cli.core.errors import UsageError
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.settings_catalogue import HIDDEN, without_password

_PACKAGE = Path(__file__).resolve().parents[2]
TOPIC_ID = "transforms.source.static.value"
_SECRET_KEY = re.compile(
    r"passw|passphrase|pwd|secret|token|jaas|credential|private|auth\.user|(ssl|store|api|access)[._-]?key$|"
    r"(store|api|access)\.\w*key$",
    re.IGNORECASE,
)
"""Keys whose values are not shown."""
_SECRET_PART = re.compile(r"(\b[\w.-]*(?:passw\w*|pwd|secret|token|credential)[\w.-]*\s*=\s*)[^&;\s]+", re.IGNORECASE)
"""The same within a value: parameters of an address, options of a login."""


def shipped_file() -> Path:
    """`deploy/connect/memory-landing.json` of the source tree, or its copy in an installed wheel."""
    installed = _PACKAGE / "connect" / "memory-landing.json"
    return installed if installed.exists() else _PACKAGE.parent / "deploy" / "connect" / "memory-landing.json"


def dead_letter_topic(settings: Settings) -> str:
    """Where Connect puts what it cannot land; its name on the brokers."""
    return f"{settings.log.topic_prefix}memory.connect.dlq"


def wanted_config(
    settings: Settings, topic_id: str, target: Mapping[str, str], lines: Mapping[str, str]
) -> dict[str, str]:
    """`lines` filled in. `target`: `jdbc_url`, `user`, `password` and `schema` of the store."""
    values = {
        **target,
        "topic": settings.log.topic_prefix + EVENTS_TOPIC,
        "topic_id": topic_id,
        "dead_letter_topic": dead_letter_topic(settings),
        "replication_factor": str(settings.log.replication_factor),
    }
    return {key: Template(value).safe_substitute(values) for key, value in lines.items()}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[ConfigChange]:
    """What would be different, by key. Connect adds the connector's name by itself."""
    keys = sorted({*before, *after} - {"name"})
    return [
        ConfigChange(key, _shown(key, before.get(key)), _shown(key, after.get(key)))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _shown(key: str, value: str | None) -> str | None:
    if not value:
        return value
    return HIDDEN if _SECRET_KEY.search(key) else _SECRET_PART.sub(rf"\1{HIDDEN}", without_password(value))


def read_config(file: Path | None = None) -> dict[str, str]:
    """The lines of the file, or of the one that ships with soma. Raises UsageError for a file that is none."""
    file = file or shipped_file()
    try:
        lines: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint=f"begin with a copy of {shipped_file()}") from error
    if not isinstance(lines, dict) or not all(isinstance(value, str) for value in lines.values()):
        raise UsageError(
            f"{file} is no connector's configuration: it is not one JSON object of texts",
            hint=f"begin with a copy of {shipped_file()}",
        )
    return lines
