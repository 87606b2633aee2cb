"""The settings read off the dataclasses: key, type, rules, documentation; how values are converted and hidden."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from .settings import Settings

HIDDEN = "***"

_KIND_NAMES = {int: "a whole number", float: "a number", str: "text", Path: "a path", tuple: "a list of texts"}
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*://)?[^:/?#@\s]*):(.*)@", re.DOTALL)
_KEYWORD = re.compile(
    r"\b((?:ssl)?password|passwd|passphrase|api_?key|token)(\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&#]+)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the settings tree. `kind` is str, int, float, Path or tuple (of str)."""

    key: str
    kind: type
    choices: tuple[str, ...]
    nullable: bool
    default: Any
    rules: Mapping[str, Any]

    @property
    def variable(self) -> str:
        """The environment variable: `log.security.password` is `SOMA_LOG__SECURITY__PASSWORD`."""
        return "SOMA_" + self.key.replace(".", "__").upper()

    @property
    def accepted(self) -> str:
        """What may be written, in words."""
        words = " or ".join(self.choices) if self.choices else _KIND_NAMES[self.kind]
        if "minimum" in self.rules:
            words += f" of at least {self.rules['minimum']}"
        if "above" in self.rules:
            words += f" above {self.rules['above']}"
        if "pattern_doc" in self.rules:
            words += f" ({self.rules['pattern_doc']})"
        return words + (" or null" if self.nullable else "")

    def shown(self, value: object) -> Any:
        """`value` as JSON data, secrets hidden."""
        if value is None:
            return None
        if self.rules.get("secret"):
            return HIDDEN
        if self.rules.get("secret_part"):
            return without_password(value) if isinstance(value, str) else HIDDEN
        if isinstance(value, tuple):
            return list(value)
        return str(value) if isinstance(value, Path) else value

    def convert(self, value: object, *, folder: Path, text: bool) -> Any:
        """The value as the dataclasses hold it.

        `folder` is what a relative path is relative to; `text` says that the value comes from a place that knows only
        text, such as the environment. Raises ValueError where the value is not accepted.
        """
        if text and self.nullable and value in ("", "null"):
            value = None
        if value is None:
            if not self.nullable:
                raise ValueError("null")
            return None
        converted = self._typed(value, folder, text)
        self._check(converted)
        return converted

    def _typed(self, value: object, folder: Path, text: bool) -> Any:
        if self.kind is tuple:
            return _texts(value, text)
        if self.kind is Path:
            return _path(value, folder)
        if self.kind is str:
            return _instance(value, str)
        if isinstance(value, str):
            return self.kind(value)
        _instance(value, (int, float) if self.kind is float else int)
        try:
            return self.kind(value)
        except OverflowError as error:
            raise ValueError("too large") from error

    def _check(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            raise ValueError("not one of the choices")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("not finite")
        if "minimum" in self.rules and value < self.rules["minimum"]:
            raise ValueError("too small")
        if "above" in self.rules and value <= self.rules["above"]:
            raise ValueError("too small")
        pattern = self.rules.get("pattern")
        if pattern and not all(re.fullmatch(pattern, one) for one in (value if self.kind is tuple else [value])):
            raise ValueError("not of the form")


class Documented(NamedTuple):
    key: str
    type: str
    default: str
    doc: str


@functools.cache
def catalogue() -> dict[str, Setting]:
    """Every setting by its dotted key, in the order of the dataclasses."""
    return {setting.key: setting for setting in _leaves(Settings, "")}


@functools.cache
def groups() -> frozenset[str]:
    """The dotted keys of the groups: `log`, `log.security` ..."""
    return frozenset(key.rsplit(".", depth)[0] for key in catalogue() for depth in range(1, key.count(".") + 1))


def build(values: Mapping[str, Any]) -> Settings:
    """Settings from one value per key of the catalogue."""
    settings: Settings = _group(Settings, values, "")
    return settings


def document() -> list[Documented]:
    """One row per setting: key, what is accepted, default as written in YAML, documentation."""
    return [Documented(one.key, one.accepted, as_yaml(one.default), one.rules["doc"]) for one in catalogue().values()]


def as_yaml(value: object) -> str:
    """A default as it is written in the file."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return '""' if value == "" else str(value)


def without_password(address: str) -> str:
    """A connection string or URL with its password (and tokens in its query) hidden."""
    hidden = _KEYWORD.sub(rf"\1\2{HIDDEN}", address)
    return _USERINFO.sub(rf"\1:{HIDDEN}@", hidden)


def _leaves(group: Any, prefix: str) -> list[Setting]:
    hints = get_type_hints(group)
    found: list[Setting] = []
    for field in dataclasses.fields(group):
        hint, key = hints[field.name], prefix + field.name
        found += _leaves(hint, key + ".") if dataclasses.is_dataclass(hint) else [_leaf(key, hint, field)]
    return found


def _leaf(key: str, hint: Any, field: dataclasses.Field[Any]) -> Setting:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = next(part for part in parts if part is not type(None))
    choices = get_args(plain) if get_origin(plain) is Literal else ()
    return Setting(
        key=key,
        kind=str if choices else get_origin(plain) or plain,
        choices=choices,
        nullable=type(None) in parts or bool(field.metadata.get("null_is_default")),
        default=None if field.default is dataclasses.MISSING else field.default,
        rules=field.metadata,
    )


def _group(group: Any, values: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(group)
    return group(
        **{
            name: _group(hint, values, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else values[prefix + name]
            for name, hint in hints.items()
        }
    )


def _instance(value: Any, kinds: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError("wrong type")
    return value


def _texts(value: object, text: bool) -> tuple[str, ...]:
    if text and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(_instance(one, str) for one in _instance(value, (list, tuple)))


def _path(value: object, folder: Path) -> Path:
    if isinstance(value, str) and (not value or "\0" in value):
        raise ValueError("no path")
    try:
        return folder / Path(_instance(value, (str, Path))).expanduser()
    except RuntimeError as error:
        raise ValueError("no home folder for ~") from error
