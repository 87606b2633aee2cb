"""Settings: precedence, files, environment, profiles, conversion, secrets, and that the documents tell the truth."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from soma_cli.core.built_in_profiles import BUILT_IN_PROFILES
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.settings import Settings
from soma_cli.core.settings_catalogue import Setting, catalogue, without_password
from soma_cli.core.settings_loader import Loaded, describe, load_settings

ROOT = Path(__file__).resolve().parents[2]
Load = Callable[..., Loaded]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def load(tmp_path: Path, work: Path) -> Load:
    """`load_settings` in an empty folder, with nothing in the environment but keyword `env`."""

    def call(env: dict[str, str] | None = None, **given: object) -> Loaded:
        own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data"), **(env or {})}
        return load_settings(environ=own, cwd=work, **given)  # type: ignore[arg-type]

    return call


def refused(load: Load, *, code: str, **given: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(**given)
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    return caught.value


def test_without_anything_the_defaults_of_the_embedded_profile_hold(load: Load, tmp_path: Path) -> None:
    loaded = load()
    assert loaded.settings == dataclasses.replace(Settings(), data_dir=tmp_path / "data" / "soma")
    assert loaded.file is None
    assert loaded.origins["log.kind"] == "profile embedded (built in)"
    assert loaded.origins["log.partitions"] == "default"
    assert set(loaded.origins) == set(catalogue())


LAYERS = [
    ("default", 500),
    ("file ./soma.yaml", 5),
    ("profile staging in ./soma.yaml", 4),
    ("environment SOMA_WORKER__BATCH_SIZE", 2),
    ("option worker.batch_size", 1),
]


@pytest.mark.parametrize("upto", range(len(LAYERS)))
def test_each_source_beats_the_ones_before_it(load: Load, work: Path, upto: int) -> None:
    top = "worker: {batch_size: 5}\n" if upto >= 1 else ""
    staging = "{worker: {batch_size: 4}}" if upto >= 2 else "{}"
    (work / "soma.yaml").write_text(f"{top}profiles: {{staging: {staging}}}\n")
    loaded = load(
        profile="staging",
        env={"SOMA_WORKER__BATCH_SIZE": "2"} if upto >= 3 else {},
        overrides={"worker.batch_size": 1 if upto >= 4 else None},
    )
    assert (loaded.origins["worker.batch_size"], loaded.settings.worker.batch_size) == LAYERS[upto]


def test_the_file_beats_the_built_in_profile_and_a_profile_of_that_name_beats_the_file(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text(
        "store: {dsn: 'postgresql://top/x'}\nindex: {url: 'http://top'}\n"
        "profiles: {cluster: {index: {url: 'http://named'}}}\n"
    )
    loaded = load(profile="cluster")
    assert loaded.settings.log.bootstrap_servers == "localhost:9092"
    assert loaded.settings.store.dsn == "postgresql://top/x"
    assert loaded.settings.index.url == "http://named"
    assert loaded.origins["index.url"] == "profile cluster in ./soma.yaml"
    assert loaded.origins["registry.url"] == "profile cluster (built in)"


def test_cluster_needs_no_file(load: Load) -> None:
    settings = load(env={"SOMA_PROFILE": "cluster", "SOMA_STORE__DSN": "postgresql://db/x"}).settings
    kinds = [settings.log.kind, settings.store.kind, settings.index.kind, settings.cache.kind, settings.registry.kind]
    assert kinds == ["kafka", "postgres", "qdrant", "redis", "confluent_http"]
    assert settings.store.dsn == "postgresql://db/x"
    assert settings.profile == "cluster"


def test_the_profile_is_chosen_by_option_then_environment_then_file(load: Load, work: Path) -> None:
    numbered = ", ".join(f"{name}: {{worker: {{batch_size: {n}}}}}" for n, name in enumerate("abc", start=1))
    (work / "soma.yaml").write_text(f"profile: a\nprofiles: {{{numbered}}}\n")
    assert load().settings.profile == "a"
    assert load(env={"SOMA_PROFILE": ""}).settings.profile == "a"
    assert load(env={"SOMA_PROFILE": "b"}).settings.profile == "b"
    assert load(env={"SOMA_PROFILE": "b"}).origins["worker.batch_size"] == "profile b in ./soma.yaml"
    chosen = load(env={"SOMA_PROFILE": "b"}, profile="c")
    assert chosen.settings.worker.batch_size == 3
    assert (chosen.settings.profile, chosen.origins["profile"]) == ("c", "option --profile")


def test_every_built_in_profile_holds_known_and_acceptable_values(load: Load) -> None:
    for name, values in BUILT_IN_PROFILES.items():
        shown = {row["key"]: row["value"] for row in describe(load(profile=name))}
        assert {key: shown[key] for key in values} == dict(values)


def test_the_file_is_the_first_of_option_variable_working_folder_and_user_folder(
    load: Load, work: Path, tmp_path: Path
) -> None:
    places = [
        work / "a.yaml",
        tmp_path / "b.yaml",
        work / "soma.yaml",
        tmp_path / "config" / "soma" / "config.yaml",
    ]
    places[3].parent.mkdir(parents=True)
    for number, place in enumerate(places, start=1):
        place.write_text(f"worker: {{batch_size: {number}}}\n")
    env = {"SOMA_CONFIG": str(places[1])}
    found = [load(env=env, config_file=Path("a.yaml")), load(env=env), load()]
    places[2].unlink()
    found.append(load(env={"SOMA_CONFIG": ""}))
    assert [one.settings.worker.batch_size for one in found] == [1, 2, 3, 4]
    assert [one.file for one in found] == places
    assert [one.origins["worker.batch_size"] for one in found] == [
        "file a.yaml",
        f"file {places[1]}",
        "file ./soma.yaml",
        f"file {places[3]}",
    ]


def test_a_named_file_must_be_there(load: Load) -> None:
    assert "nowhere.yaml" in refused(load, code="config_file", config_file=Path("nowhere.yaml")).message
    assert "gone.yaml" in refused(load, code="config_file", env={"SOMA_CONFIG": "gone.yaml"}).message


def test_a_folder_or_bytes_in_place_of_the_file_are_refused(load: Load, work: Path) -> None:
    (work / "soma.yaml").mkdir()
    assert "cannot be read" in refused(load, code="config_file").message
    (work / "latin.yaml").write_bytes(b"profile: caf\xe9\n")
    assert "cannot be read" in refused(load, code="config_file", config_file=Path("latin.yaml")).message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("log:\n  kind: [sqlite\n", 3, 1),
        ("log:\n  kind: sqlite\n  kind: kafka\n", 3, 3),
        ("worker: {batch_size: 1}\nlog: {}\nworker: {}\n", 3, 1),
        ("profiles:\n  a: {}\n  b:\n    log: {kind: sqlite}\n    log: {}\n", 5, 5),
        ("a: !!python/object/apply:os.system [id]\n", 1, 4),
        ("a: é\nb: \0\n", 2, 4),
    ],
)
def test_faults_in_the_yaml_are_shown_with_line_and_column(
    load: Load, work: Path, text: str, line: int, column: int
) -> None:
    (work / "soma.yaml").write_text(text)
    error = refused(load, code="config_file")
    assert (error.details["line"], error.details["column"]) == (line, column)
    assert f"line {line}, column {column}" in error.message


@pytest.mark.parametrize("text", ["a: 2024-99-99\n", "- a\n", "just words\n"])
def test_other_things_that_are_no_settings_file_are_refused(load: Load, work: Path, text: str) -> None:
    (work / "soma.yaml").write_text(text)
    assert "./soma.yaml" in refused(load, code="config_file").message


@pytest.mark.parametrize("text", ["", "# nothing\n", "log:\nprofiles:\n", "\ufefflog: {kind: sqlite}\n"])
def test_empty_files_and_groups_change_nothing(load: Load, work: Path, text: str) -> None:
    (work / "soma.yaml").write_text(text)
    assert load().settings == load(config_file=None).settings
    assert load().file == work / "soma.yaml"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("stroe: {dsn: x}", "store"),
        ("store: {dns: x}", "store.dsn"),
        ("dsn: x", "store.dsn"),
        ("log: {security: {passwort: x}}", "log.security.password"),
        ("profile_s: {}", "profiles"),
        ("profiles: {a: {worker: {batchsize: 1}}}", "worker.batch_size"),
        ("log.kind: kafka", "log.kind"),
        ("1: x", None),
    ],
)
def test_an_unknown_key_names_the_nearest(load: Load, work: Path, text: str, nearest: str | None) -> None:
    (work / "soma.yaml").write_text(text)
    error = refused(load, code="unknown_setting")
    assert error.details["nearest"] == nearest
    assert "soma.yaml" in error.message
    assert nearest is None or nearest in error.hint


def test_an_unknown_variable_option_or_profile_names_the_nearest(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text("profiles: {staging: {}}")
    assert "SOMA_STORE__DSN" in refused(load, code="unknown_variable", env={"SOMA_STORE_DSN": "x"}).hint
    assert "store.dsn" in refused(load, code="unknown_setting", overrides={"store.dns": "x"}).hint
    assert "staging" in refused(load, code="unknown_profile", profile="stagin").hint
    error = refused(load, code="unknown_profile", profile="moon")
    assert error.hint == "The profiles are embedded, cluster, staging."
    error = refused(load, code="unknown_profile", env={"SOMA_PROFILE": "clutser"})
    assert "cluster" in error.hint
    assert "environment SOMA_PROFILE" in error.message


def test_foreign_variables_of_the_test_suite_are_passed_over(load: Load) -> None:
    env = {"SOMA_TEST_KAFKA": "x", "SOMA_REQUIRE_SERVICES": "1", "SOMA_JSON_CORPUS": "x", "SOMATIC": "x"}
    env |= {"SOMA_DEBUG": "1", "SOMA_CONFIG": ""}
    assert load(env=env).settings == load().settings


def test_a_variable_that_only_begins_like_one_that_is_passed_over_is_unknown(load: Load) -> None:
    for name in ("SOMA_DEBUGGING", "SOMA_REQUIRE_SERVICES_X", "SOMA_CONFIG_FILE"):
        refused(load, code="unknown_variable", env={name: "1"})


@pytest.mark.parametrize("name", ["SOMA_DATA_DIR", "SOMA_LOG__TOPIC_PREFIX", "XDG_DATA_HOME"])
def test_bytes_that_are_not_utf8_are_refused_in_words_that_can_be_printed(load: Load, name: str) -> None:
    error = refused(load, code="invalid_setting", env={name: "/a\udcff"})
    assert "udcff" in error.message
    json.dumps([error.message, error.hint, error.details], ensure_ascii=False).encode()


def test_a_profile_cannot_choose_a_profile(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text("profiles: {a: {profile: cluster}}")
    refused(load, code="invalid_setting")


def test_a_value_in_place_of_a_group_is_refused(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text("log: sqlite")
    assert "group" in refused(load, code="invalid_setting").message


def test_a_profile_that_is_not_chosen_is_checked_too(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text("profiles: {a: {worker: {batch_size: none}}}")
    assert "profile a in ./soma.yaml" in refused(load, code="invalid_setting").message


WRONG = [
    ("log.kind", "Sqlite"),
    ("log.kind", None),
    ("log.partitions", 0),
    ("log.partitions", 1.0),
    ("log.partitions", True),
    ("log.partitions", "twelve"),
    ("log.partitions", None),
    ("log.topic_prefix", "a b"),
    ("log.group_prefix", ""),
    ("log.security.username", 7),
    ("log.security.ca_file", ""),
    ("log.security.ca_file", ["a"]),
    ("data_dir", "a\0b"),
    ("index.url", "localhost:6333"),
    ("index.collection", "../up"),
    ("index.dimension", 0),
    ("index.text_pointers", ["title"]),
    ("index.text_pointers", ["/a~2"]),
    ("index.text_pointers", [1]),
    ("cache.ttl_s", 0),
    ("embedder.batch_size", 0),
    ("embedder.timeout_s", -1),
    ("scoring.policy", "retian"),
    ("scoring.weights.age", "heavy"),
    ("scoring.weights.age", False),
    ("scoring.threshold", float("nan")),
    ("scoring.threshold", "inf"),
    ("scoring.threshold", 10**400),
    ("limits.event_bytes", 0),
    ("limits.future_s", -0.1),
    ("worker.poll_interval_s", 0.0),
    ("worker.max_rejects_in_a_row", 0),
    ("worker.drain_timeout_s", {}),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda part: repr(part)[:40])
def test_a_wrong_value_is_refused_with_key_value_origin_and_what_is_accepted(
    load: Load, work: Path, key: str, value: object
) -> None:
    tree: object = value
    for name in reversed(key.split(".")):
        tree = {name: tree}
    (work / "soma.yaml").write_text(yaml.safe_dump(tree, width=10**6))
    error = refused(load, code="invalid_setting")
    assert error.details["key"] == key
    assert error.details["origin"] == "file ./soma.yaml"
    assert error.details["accepted"] == catalogue()[key].accepted
    assert error.details["accepted"] in error.hint
    assert key in error.message
    json.dumps(error.details)


RIGHT = [
    ("log.partitions", "3", 3),
    ("limits.event_bytes", "2_000_000", 2_000_000),
    ("limits.future_s", "0", 0.0),
    ("cache.ttl_s", "1e2", 100.0),
    ("scoring.weights.age", "-1.5", -1.5),
    ("scoring.weights.age", "", None),
    ("scoring.threshold", "null", None),
    ("log.topic_prefix", "", ""),
    ("log.bootstrap_servers", "a:1,b:2", "a:1,b:2"),
    ("log.security.mechanism", "SCRAM-SHA-512", "SCRAM-SHA-512"),
    ("log.security.password", "12345", "12345"),
    ("index.text_pointers", "/title, /a~1b/0", ("/title", "/a~1b/0")),
    ("index.text_pointers", "", ()),
    ("embedder.dimension", "384", 384),
]


@pytest.mark.parametrize(("key", "text", "value"), RIGHT)
def test_text_from_the_environment_is_converted(load: Load, key: str, text: str, value: object) -> None:
    variable = "SOMA_" + key.replace(".", "__").upper()
    loaded = load(env={variable: text})
    found = of(loaded.settings, key)
    assert (found, type(found)) == (value, type(value))
    assert loaded.origins[key] == f"environment {variable}"


def test_values_from_yaml_keep_their_types(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text(
        "index: {text_pointers: [/a, '/b,c', '']}\ncache: {ttl_s: 5}\nlimits: {future_s: 1e3}\nembedder: {dimension: }"
    )
    settings = load().settings
    assert settings.index.text_pointers == ("/a", "/b,c", "")
    assert type(settings.cache.ttl_s) is float
    assert settings.limits.future_s == 1000.0
    assert settings.embedder.dimension is None


def test_null_in_a_stronger_source_takes_a_value_away(load: Load, work: Path) -> None:
    (work / "soma.yaml").write_text("scoring: {threshold: 3}")
    assert load(env={"SOMA_SCORING__THRESHOLD": "null"}).settings.scoring.threshold is None


def test_paths_count_from_the_file_or_the_working_folder_and_know_the_home_folder(
    load: Load, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    (elsewhere / "soma.yaml").write_text("data_dir: data\nlog: {security: {ca_file: ~/ca.pem}}")
    settings = load(config_file=elsewhere / "soma.yaml").settings
    assert settings.data_dir == elsewhere / "data"
    assert settings.log.security.ca_file == Path("/home/somebody/ca.pem")
    assert load(env={"SOMA_DATA_DIR": "data"}).settings.data_dir == work / "data"
    given = load(overrides={"data_dir": Path("data")})
    assert (given.settings.data_dir, given.origins["data_dir"]) == (work / "data", "option --data-dir")


def test_without_a_data_folder_it_is_that_of_the_user(load: Load, work: Path, tmp_path: Path) -> None:
    (work / "soma.yaml").write_text("data_dir: null")
    assert load().settings.data_dir == tmp_path / "data" / "soma"
    assert load(env={"SOMA_DATA_DIR": ""}).settings.data_dir == tmp_path / "data" / "soma"
    assert load(env={"XDG_DATA_HOME": "relative"}).settings.data_dir.is_absolute()


def test_a_first_backoff_above_the_longest_is_refused(load: Load) -> None:
    error = refused(load, code="invalid_setting", env={"SOMA_WORKER__BACKOFF_INITIAL_S": "31"})
    assert "environment SOMA_WORKER__BACKOFF_INITIAL_S" in error.message
    assert "worker.backoff_max_s" in error.message


def hidden(setting: Setting) -> bool:
    return bool(setting.rules.get("secret") or setting.rules.get("secret_part"))


def test_what_is_named_like_a_secret_is_one() -> None:
    named = {key for key in catalogue() if re.search(r"(password|api_key|dsn|url|token)$", key)}
    assert named == {key for key, setting in catalogue().items() if hidden(setting)}


@pytest.mark.parametrize("key", [key for key, setting in catalogue().items() if hidden(setting)])
def test_a_secret_is_shown_nowhere(load: Load, key: str) -> None:
    value = "scheme://user:hunter2@host/x"
    loaded = load(overrides={key: value})
    row = next(row for row in describe(loaded) if row["key"] == key)
    assert row["value"] == ("***" if catalogue()[key].rules.get("secret") else "scheme://user:***@host/x")
    assert "hunter2" not in repr(loaded)
    assert of(loaded.settings, key) == value
    for bad in (["hunter2"], {"a": "hunter2"}):
        error = refused(load, code="invalid_setting", overrides={key: bad})
        assert "hunter2" not in f"{error.message} {error.hint} {error.details}"


def test_a_url_that_is_refused_does_not_show_its_password(load: Load) -> None:
    error = refused(load, code="invalid_setting", env={"SOMA_INDEX__URL": "user:hunter2@host"})
    assert "hunter2" not in f"{error.message} {error.hint} {error.details}"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:p@ss/w:rd@h/d", "postgresql://u:***@h/d"),
        ("redis://:p@h:6379/0", "redis://:***@h:6379/0"),
        (
            "postgresql://h/d?user=u&password=p%20q&sslmode=require",
            "postgresql://h/d?user=u&password=***&sslmode=require",
        ),
        ("host=h password=p dbname=d", "host=h password=*** dbname=d"),
        (r"host=h password='p \' q' dbname=d", "host=h password=*** dbname=d"),
        ("host=h PASSWORD = 'p", "host=h PASSWORD = ***"),
        ("http://h:6333/?api_key=k", "http://h:6333/?api_key=***"),
        ("postgresql://localhost:5432/soma", "postgresql://localhost:5432/soma"),
    ],
)
def test_only_the_password_of_an_address_is_hidden(written: str, shown: str) -> None:
    assert without_password(written) == shown


def test_describe_is_json_with_every_setting_in_order(load: Load) -> None:
    rows = describe(load(env={"SOMA_INDEX__TEXT_POINTERS": "/a,/b"}))
    assert [row["key"] for row in rows] == list(catalogue())
    assert json.loads(json.dumps(rows)) == rows
    found = {row["key"]: row for row in rows}
    assert found["index.text_pointers"] == {
        "key": "index.text_pointers",
        "value": ["/a", "/b"],
        "origin": "environment SOMA_INDEX__TEXT_POINTERS",
    }
    assert found["log.security.password"]["value"] is None


def test_settings_are_frozen_and_hashable() -> None:
    assert hash(Settings()) == hash(Settings())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().profile = "x"  # type: ignore[misc]


def test_settings_load_without_yaml_and_without_heavy_modules(work: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from soma_cli.core.settings_loader import load_settings\n"
        "load_settings(environ={'XDG_CONFIG_HOME': sys.argv[1]})\n"
        "print([m for m in ('yaml', 'pydantic', 'difflib') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(run, cwd=work, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def of(settings: Settings, key: str) -> object:
    found: object = settings
    for name in key.split("."):
        found = getattr(found, name)
    return found


EXAMPLE = ROOT / "config.example.yaml"


def leaves(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in tree.items():
        flat |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def test_the_example_file_names_every_setting_with_its_default_and_changes_nothing(load: Load) -> None:
    written = leaves(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    defaults = {
        key: [*setting.default] if setting.kind is tuple else setting.default for key, setting in catalogue().items()
    }
    assert written == defaults
    assert list(written) == list(defaults)
    loaded = load(config_file=EXAMPLE)
    assert loaded.settings == load().settings
    assert {origin for key, origin in loaded.origins.items()} == {f"file {EXAMPLE}"}


def test_the_example_file_has_a_comment_for_every_setting() -> None:
    """A comment stands above the setting, or above the first of a few that it speaks for; a group has one too."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    bare = 0
    for number, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            bare = 0
            continue
        bare += 1
        assert bare <= 5, f"line {number + 1} is far from any comment: {line}"
        if not line.startswith(" "):
            assert lines[number - 1].startswith("#"), f"line {number + 1} has no comment: {line}"


@pytest.mark.parametrize("page", ["config.example.yaml", "docs/CONFIGURATION.md"])
def test_the_documents_say_which_kinds_are_not_there_yet(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(r"fastembed`? \(?(is )?not in this version", text)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_configuration", ROOT / "docs/generate_configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_settings_is_generated(generator: ModuleType) -> None:
    page = generator.PAGE.read_text(encoding="utf-8")
    assert generator.regenerated(page) == page, "run: python docs/generate_configuration.py"
    for key, setting in catalogue().items():
        assert f"| `{key}` |" in page
        assert setting.rules["doc"].endswith("."), key


def test_every_variable_and_key_in_the_configuration_page_exists(generator: ModuleType) -> None:
    page = generator.PAGE.read_text(encoding="utf-8")
    variables = set(re.findall(r"SOMA_[A-Z_]*[A-Z]", page)) - {"SOMA_CONFIG", "SOMA_DEBUG", "SOMA_TEST"}
    known = {setting.variable for setting in catalogue().values()}
    assert variables - known == {"SOMA_REQUIRE_SERVICES", "SOMA_JSON_CORPUS"}
