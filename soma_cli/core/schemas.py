"""The JSON Schemas that ship with soma: `schemas/` of the source tree, `soma_cli/schemas/` of an installed wheel."""

from __future__ import annotations

from pathlib import Path

from soma_cli.core.errors import NotFound

_PACKAGE = Path(__file__).resolve().parent.parent


def schemas_folder() -> Path:
    """The folder that holds the shipped schema files."""
    installed = _PACKAGE / "schemas"
    return installed if installed.is_dir() else _PACKAGE.parent / "schemas"


def schema_names() -> list[str]:
    return sorted(path.stem for path in schemas_folder().glob("*.json"))


def schema_text(name: str) -> str:
    """The file of one schema, as shipped. Raises NotFound with the names there are."""
    path = schemas_folder() / f"{name}.json"
    if name not in schema_names():
        raise NotFound(f"there is no schema {name!r}", hint=f"the schemas are: {', '.join(schema_names())}")
    return path.read_text(encoding="utf-8")
