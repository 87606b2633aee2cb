"""SQL statements that lie in files, by name."""

from __future__ import annotations

import functools
import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@functools.cache
def named_queries(file: Path) -> dict[str, str]:
    """The statements of a file, by the name in the `-- name:` line above each."""
    parts = _NAME.split(file.read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[1::2], parts[2::2], strict=True)}
