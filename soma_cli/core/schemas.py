"""Where JSON Schemas lie: the folder that is meant, and the names of the files in it.

    schemas/NAME.json                 the working version of a schema
    schemas/versions/NAME/1.json ...  its released versions, which never change
    schemas/versions/NAME/mode        the compatibility mode of the schema, where it is not BACKWARD

Those that ship with soma are in `schemas/` of the source tree, `soma_cli/schemas/` of an installed wheel.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.settings import Settings

EVENT_SCHEMA = "memory.event"

_PACKAGE = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_WORKING = re.compile(rf"({_NAME.pattern})\.json")
_RELEASED = re.compile(rf"versions/({_NAME.pattern})/([1-9][0-9]{{0,8}})\.json")


@dataclass(frozen=True, slots=True)
class SchemaFolder:
    """A folder of schemas. `origin`: asked for, or `schemas` of the working directory or above it, or shipped."""

    path: Path
    origin: Literal["asked", "here", "shipped"]

    @property
    def description(self) -> str:
        return f"{self.path}, which ships with soma" if self.origin == "shipped" else str(self.path)


def schemas_folder() -> Path:
    """The folder that holds the shipped schema files."""
    installed = _PACKAGE / "schemas"
    return installed if installed.is_dir() else _PACKAGE.parent / "schemas"


def find_folder(asked: Path | None = None) -> SchemaFolder:
    """The folder that is meant: also from below it in a git repository. Raises UsageError where the one that was asked
    for is none."""
    if asked is not None:
        if not asked.is_dir():
            raise UsageError(
                f"{asked} is not a folder of schemas",
                hint="give --schemas the folder that holds NAME.json, or set registry.folder",
            )
        return SchemaFolder(_short(asked), "asked")
    here = Path("schemas")
    if here.is_dir():
        return SchemaFolder(here, "here")
    return _above(Path.cwd()) or SchemaFolder(schemas_folder(), "shipped")


def _above(start: Path) -> SchemaFolder | None:
    """`schemas` of the nearest folder above within the git repository."""
    top = repository_of(start)
    for folder in (start, *start.parents) if top else ():
        if (folder / "schemas").is_dir():
            return SchemaFolder(_short(folder / "schemas"), "here")
        if folder == top:
            break
    return None


def no_own_folder() -> UsageError:
    return UsageError(
        "there is no folder `schemas` here, nor above in a git repository",
        hint="give the folder of the schemas with --schemas, set registry.folder, or name the schemas that are meant",
    )


def repository_of(start: Path) -> Path | None:
    """The top of the git repository that a folder lies in."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)


def _short(path: Path) -> Path:
    """As a person would write it from the working directory."""
    here = Path.cwd()
    plain = Path(os.path.normpath(path.absolute()))
    return plain.relative_to(here) if plain.is_relative_to(here) else plain


def working_path(name: str) -> str:
    """Path of a schema's working version in its folder. Raises InputRejected for what can be no schema's name."""
    return f"{check_name(name)}.json"


def released_path(name: str, version: int) -> str:
    return f"versions/{check_name(name)}/{version}.json"


def mode_path(name: str) -> str:
    return f"versions/{check_name(name)}/mode"


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputRejected(
            f"{name!r} can be no schema's name in a folder",
            hint="use letters, digits, `_`, and after the first also `.`, `-`",
            code="schema_name",
        )
    return name


def working_names(paths: Iterable[str]) -> list[str]:
    """The schemas that have a working version among the paths of a folder, sorted."""
    return sorted(found[1] for path in paths if (found := _WORKING.fullmatch(path)))


def released_versions(paths: Iterable[str]) -> dict[str, list[int]]:
    """The released versions among the paths of a folder, oldest first, by schema."""
    versions: dict[str, list[int]] = {}
    for found in filter(None, map(_RELEASED.fullmatch, paths)):
        versions.setdefault(found[1], []).append(int(found[2]))
    return {name: sorted(versions[name]) for name in sorted(versions)}


def stray(paths: Iterable[str]) -> list[str]:
    """The paths of a folder that are no schemas: by their names, or as they lie further below."""
    return sorted(path for path in paths if not (_WORKING.fullmatch(path) or _RELEASED.fullmatch(path)))


def subject_of(name: str, settings: Settings) -> str:
    """What the configured registry calls a schema: by its name, but the value of `memory.events` as other tools of
    Kafka look it up, by the topic's."""
    if settings.registry.kind == "files" or name != EVENT_SCHEMA:
        return name
    return f"{settings.log.topic_prefix}memory.events-value"


def schema_names() -> list[str]:
    """The shipped ones."""
    return working_names(path.name for path in schemas_folder().glob("*.json"))


def schema_text(name: str) -> str:
    """The file of one schema, as shipped. Raises NotFound with the names there are."""
    path = schemas_folder() / f"{name}.json"
    if name not in schema_names():
        raise no_such_schema(name, schema_names())
    return path.read_text(encoding="utf-8")


def no_such_schema(name: str, names: Iterable[str], where: str = "") -> NotFound:
    return NotFound(
        f"there is no schema {name!r}{where and f' in {where}'}", hint=f"the schemas are: {', '.join(names)}"
    )
