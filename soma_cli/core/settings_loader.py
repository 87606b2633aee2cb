"""Settings from defaults, profiles, a file, the environment and options, each value with where it came from.

The strongest first: option, environment, the file's profile, the file's top level, the built-in profile, default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .built_in_profiles import BUILT_IN_PROFILES
from .errors import ConfigurationError
from .settings import Settings, default_data_dir
from .settings_catalogue import Setting, build, catalogue, groups
from .settings_file import SettingsFile, find_file

_NO_SETTINGS = frozenset({"SOMA_CONFIG", "SOMA_DEBUG", "SOMA_REQUIRE_SERVICES", "SOMA_JSON_CORPUS"})
"""Variables of other uses; so are all that begin with `SOMA_TEST_`."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """`origins` says for every key where its value came from; `file` is the settings file that was read, if any."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values of one source by dotted key. `text` and `folder` as in `Setting.convert`."""

    values: Mapping[str, object]
    origin: Callable[[str], str]
    folder: Path
    text: bool = False


def load_settings(
    *,
    config_file: Path | None = None,
    profile: str | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Loaded:
    """The settings in force.

    `overrides` are options by dotted key, with typed values or text; None means that the option was not given.
    `environ` and `cwd` are the process's unless given. Raises ConfigurationError for a file that cannot be used, an
    unknown key, variable or profile, and for a value that is not accepted.
    """
    environ = os.environ if environ is None else environ
    cwd = _working_folder() if cwd is None else cwd
    file = find_file(config_file, environ, cwd)
    in_file, profiles = _file_layers(file, cwd)
    options = _options({**(overrides or {}), **({"profile": profile} if profile else {})}, cwd)
    variables = _variables(environ, cwd)
    chosen = _chosen_profile([options, variables, in_file], profiles)
    layers = [_built_in(chosen, cwd), in_file, profiles.get(chosen), variables, options]
    return _resolve([layer for layer in layers if layer], environ, file)


def describe(loaded: Loaded) -> list[dict[str, Any]]:
    """`{"key", "value", "origin"}` for every setting, values as JSON data with secrets as `***`."""
    rows = []
    for key, setting in catalogue().items():
        value: Any = loaded.settings
        for name in key.split("."):
            value = getattr(value, name)
        rows.append({"key": key, "value": setting.shown(value), "origin": loaded.origins[key]})
    return rows


def _resolve(layers: list[_Layer], environ: Mapping[str, str], file: SettingsFile | None) -> Loaded:
    values = {key: setting.default for key, setting in catalogue().items()}
    origins = dict.fromkeys(values, "default")
    for layer in layers:
        for key in layer.values:
            values[key] = _converted(layer, key)
            origins[key] = layer.origin(key)
    if values["data_dir"] is None:
        values["data_dir"] = _user_data_dir(environ)
    if not _is_text(values["data_dir"]):
        raise _refused(catalogue()["data_dir"], values["data_dir"], origins["data_dir"])
    if values["worker.backoff_initial_s"] > values["worker.backoff_max_s"]:
        raise _backoff_upside_down(values, origins)
    return Loaded(build(values), origins, file.path if file else None)


def _converted(layer: _Layer, key: str) -> Any:
    setting, value = catalogue()[key], layer.values[key]
    if not _is_text(value):
        raise _refused(setting, value, layer.origin(key))
    try:
        return setting.convert(value, folder=layer.folder, text=layer.text)
    except ValueError as error:
        raise _refused(setting, value, layer.origin(key)) from error


def _is_text(value: object) -> bool:
    """False for text or a path with bytes that are not UTF-8: no message and no JSON could show it."""
    return not any("\ud800" <= character <= "\udfff" for character in str(value))


def _file_layers(file: SettingsFile | None, cwd: Path) -> tuple[_Layer, dict[str, _Layer]]:
    """The file's top level, and its profiles by name; all of them are checked, not only the one in force."""
    if file is None:
        return _Layer({}, lambda _: "", cwd), {}
    folder, name = file.path.parent, file.name
    top = {key: value for key, value in file.tree.items() if key != "profiles"}
    profiles = _mapping(file.tree.get("profiles"), "profiles", f"file {name}")
    layers = {"": _Layer(_flat(top, f"file {name}"), lambda _: f"file {name}", folder)}
    for title, tree in profiles.items():
        origin = f"profile {title} in {name}"
        if not isinstance(title, str):
            raise _invalid(f"The name of {origin} is not text", "Put it in quotes.", title)
        partial = _flat(_mapping(tree, f"profiles.{title}", f"file {name}"), origin)
        if "profile" in partial:
            raise _invalid(
                f"A profile cannot choose a profile: {origin}", "Move `profile` to the top level.", "profile"
            )
        layers[title] = _Layer(partial, lambda _, origin=origin: origin, folder)  # type: ignore[misc]
    for layer in layers.values():
        for key in layer.values:
            _converted(layer, key)
    return layers.pop(""), layers


def _flat(tree: Mapping[Any, object], origin: str, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(name, str) and "." not in name and key in catalogue():
            flat[key] = value
        elif isinstance(name, str) and "." not in name and key in groups():
            flat |= _flat(_mapping(value, key, origin), origin, key + ".")
        else:
            raise _unknown("setting", key, origin, [*catalogue(), *groups(), *([] if prefix else ["profiles"])])
    return flat


def _mapping(value: object, key: str, origin: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{key} is a group of settings, not one value ({origin})", "Indent its settings below it.", key)
    return value


def _variables(environ: Mapping[str, str], cwd: Path) -> _Layer:
    by_variable = {setting.variable: key for key, setting in catalogue().items()}
    values: dict[str, object] = {}
    for name in sorted(environ):
        if not name.startswith("SOMA_") or name in _NO_SETTINGS or name.startswith("SOMA_TEST_"):
            continue
        if name not in by_variable:
            raise _unknown("variable", name, "environment", by_variable)
        if name != "SOMA_PROFILE" or environ[name]:
            values[by_variable[name]] = environ[name]
    return _Layer(values, lambda key: f"environment {catalogue()[key].variable}", cwd, text=True)


def _options(overrides: Mapping[str, object], cwd: Path) -> _Layer:
    values = {key: value for key, value in overrides.items() if value is not None}
    for key in values:
        if key not in catalogue():
            raise _unknown("setting", key, "option", catalogue())
    return _Layer(values, _option_name, cwd, text=True)


def _option_name(key: str) -> str:
    return f"option {key}" if "." in key else "option --" + key.replace("_", "-")


def _chosen_profile(layers: list[_Layer], profiles: Mapping[str, _Layer]) -> str:
    layer = next((layer for layer in layers if "profile" in layer.values), None)
    if layer is None:
        return str(catalogue()["profile"].default)
    chosen: str = _converted(layer, "profile")
    if chosen not in BUILT_IN_PROFILES and chosen not in profiles:
        known = list(dict.fromkeys([*BUILT_IN_PROFILES, *profiles]))
        raise _unknown("profile", chosen, layer.origin("profile"), known, f"The profiles are {', '.join(known)}.")
    return chosen


def _built_in(profile: str, cwd: Path) -> _Layer:
    return _Layer(BUILT_IN_PROFILES.get(profile, {}), lambda _: f"profile {profile} (built in)", cwd)


def _user_data_dir(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("XDG_DATA_HOME", ""))
    return home / "soma" if home.is_absolute() else default_data_dir()


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise _invalid("The working folder does not exist any more", "Change to another folder.", "cwd") from error


def _refused(setting: Setting, value: object, origin: str) -> ConfigurationError:
    shown = _short(setting.shown(value)).encode("utf-8", "backslashreplace").decode()
    return ConfigurationError(
        f"{setting.key} cannot be {shown} ({origin})",
        hint=f"Accepted: {setting.accepted}.",
        code="invalid_setting",
        details={"key": setting.key, "value": shown, "origin": origin, "accepted": setting.accepted},
    )


def _unknown(what: str, name: str, origin: str, known: Iterable[str], there_are: str = "") -> ConfigurationError:
    nearest = _nearest(name, list(known))
    if nearest is not None:
        hint = f"Did you mean {nearest}? {there_are}".rstrip()
    else:
        hint = there_are or "`soma config show` lists every setting."
    details = {"key": name, "origin": origin, "nearest": nearest}
    return ConfigurationError(f"Unknown {what} {name} ({origin})", hint=hint, code=f"unknown_{what}", details=details)


def _nearest(name: str, known: list[str]) -> str | None:
    """By the whole name, else by its last part: `dsn` means `store.dsn`."""
    import difflib

    whole = difflib.get_close_matches(name, known, 1)
    if whole:
        return whole[0]
    last = {key.rpartition(".")[2]: key for key in reversed(known)}
    match = difflib.get_close_matches(name.rpartition(".")[2], list(last), 1)
    return last[match[0]] if match else None


def _backoff_upside_down(values: Mapping[str, Any], origins: Mapping[str, str]) -> ConfigurationError:
    first, last = "worker.backoff_initial_s", "worker.backoff_max_s"
    return _invalid(
        f"{first} is {values[first]} ({origins[first]}), more than {last}, which is {values[last]} ({origins[last]})",
        f"Lower {first} or raise {last}.",
        first,
    )


def _invalid(message: str, hint: str, key: object) -> ConfigurationError:
    return ConfigurationError(message, hint=hint, code="invalid_setting", details={"key": str(key)})


def _short(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
