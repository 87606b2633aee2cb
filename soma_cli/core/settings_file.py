"""The settings file: where it is looked for, and its YAML read strictly."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

_CODE = "config_file"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """`path` is absolute; `name` is how messages call it; `tree` is the mapping in it, values unchecked."""

    path: Path
    name: str
    tree: Mapping[Any, Any]


def find_file(named: Path | None, environ: Mapping[str, str], cwd: Path) -> SettingsFile | None:
    """The first of: `named` (`--config`), `$SOMA_CONFIG`, `./soma.yaml`, `soma/config.yaml` in the XDG config folder.

    Raises ConfigurationError if a named file is missing, or any is unreadable or not proper YAML.
    """
    named = _named(named, environ)
    if named is not None:
        return _read(_expanded(named, cwd), str(named))
    for path, name in _usual_places(environ, cwd):
        if _exists(path, name):
            return _read(path, name)
    return None


def places(named: Path | None, environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Where `find_file` looks, in its order: at the named file alone, where there is one."""
    named = _named(named, environ)
    return [path for path, _ in _usual_places(environ, cwd)] if named is None else [_expanded(named, cwd)]


def _named(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    if named is None and environ.get("SOMA_CONFIG"):
        return Path(environ["SOMA_CONFIG"])
    return named


def _usual_places(environ: Mapping[str, str], cwd: Path) -> list[tuple[Path, str]]:
    home = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not home.is_absolute():
        from platformdirs import user_config_path

        home = user_config_path()
    user_file = home / "soma" / "config.yaml"
    return [(cwd / "soma.yaml", "./soma.yaml"), (user_file, str(user_file))]


def _expanded(path: Path, cwd: Path) -> Path:
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return cwd / path


def _exists(path: Path, name: str) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(name, error) from error
    return True


def _read(path: Path, name: str) -> SettingsFile:
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    tree = _parse(text, name)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise _bad(name, "holds no settings, but " + type(tree).__name__, "Write `key: value` lines.")
    return SettingsFile(path, name, tree)


def _parse(text: str, name: str) -> Any:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_duplicates(node, name)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(name, error.problem or "cannot be parsed", error.problem_mark or error.context_mark) from error
    except yaml.reader.ReaderError as error:
        raise _not_yaml(name, str(error.reason), _first_unprintable(text)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _not_yaml(name, str(error), None) from error


def _refuse_duplicates(root: yaml.Node, name: str) -> None:
    import yaml

    pending, seen = [root], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            pending += node.value
            continue
        keys = set[str]()
        for key, value in node.value:
            pending.append(value)
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise _not_yaml(name, f"the key {key.value!r} is here a second time", key.start_mark)
            keys.add(str(key.value))


def _first_unprintable(text: str) -> yaml.Mark:
    """Where it is: the parser's own position counts characters or bytes, depending on how it was built."""
    import yaml

    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    before = text[: found.start()] if found else ""
    return yaml.Mark("", 0, before.count("\n"), len(before) - before.rfind("\n") - 1, None, 0)


def _not_yaml(name: str, problem: str, mark: yaml.Mark | None) -> ConfigurationError:
    if mark is None:
        return _bad(name, f"is not proper YAML: {problem}", "Correct the file.")
    line, column = mark.line + 1, mark.column + 1
    error = _bad(name, f"is not proper YAML at line {line}, column {column}: {problem}", "Correct that line.")
    error.details.update(line=line, column=column)
    return error


def _unreadable(name: str, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or str(error)
    return _bad(name, f"cannot be read: {reason}", "Name another with --config or SOMA_CONFIG, or make it readable.")


def _bad(name: str, what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"The settings file {name} {what}", hint=hint, code=_CODE, details={"file": name})
