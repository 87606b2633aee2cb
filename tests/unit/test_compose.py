"""docker-compose.dev.yml, as far as it can be checked where no container engine runs."""

from __future__ import annotations

import fnmatch
import http.server
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import typer

from soma_cli.core.built_in_profiles import BUILT_IN_PROFILES
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.settings_catalogue import catalogue
from soma_cli.core.settings_loader import load_settings
from soma_cli.main import app
from tests.composed import COMPOSE, ENV, OURS, ROOT, SERVICES, TEXT, VARIABLE, broker_settings
from tests.services.connect import worker_settings
from tests.services.kafka_settings import Ports
from tests.services.kafka_settings import broker_settings as local_broker_settings

WORKFLOW = ROOT / ".github/workflows/compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FOR_COMPOSE_ITSELF = {"COMPOSE_FILE", "COMPOSE_PROFILES"}
each_service = pytest.mark.parametrize("name", SERVICES)


@pytest.mark.parametrize(
    ("schema", "file"), [("compose-spec", ROOT / "docker-compose.dev.yml"), ("github-workflows", WORKFLOW)]
)
def test_it_keeps_to_its_schema(schema: str, file: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema, which brings the schemas, is not installed")
    tool = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([tool, "--builtin-schema", f"vendor.{schema}", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_itself_reads_it() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("the plugin `docker compose` is not installed")
    command = [docker, "compose", "-f", "docker-compose.dev.yml", "--env-file", ".env.example", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- variables, images, ports, volumes ---


def test_every_variable_is_in_the_env_file_and_no_other() -> None:
    used = {found[1] for found in VARIABLE.finditer(TEXT)}
    assert used == set(ENV) - FOR_COMPOSE_ITSELF


def test_no_variable_has_a_default_beside_that_of_the_env_file() -> None:
    assert {found[2] for found in VARIABLE.finditer(TEXT)} == {":?"}


def test_the_env_file_names_the_compose_file_and_one_broker() -> None:
    assert (ROOT / ENV["COMPOSE_FILE"]).exists()
    assert len(set(ENV["COMPOSE_PROFILES"].split(",")) & {"kafka", "redpanda"}) == 1


@each_service
def test_images_are_pinned(name: str) -> None:
    if name in OURS:
        assert SERVICES[name]["pull_policy"] == "build"
    else:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(\.Final)?$", SERVICES[name]["image"])


@each_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", []))


def test_no_two_services_of_a_run_want_the_same_port() -> None:
    ports = [
        port.split(":")[1] for name, one in SERVICES.items() if name != "redpanda" for port in one.get("ports", [])
    ]
    assert len(ports) == len(set(ports))


def test_data_lies_in_named_volumes() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert [mount for mount in mounts if mount.startswith(".")] == [f"{ENV['CONNECT_PLUGINS']}:/plugins:ro"]
    assert (ROOT / ENV["CONNECT_PLUGINS"]).is_dir()


# --- health and order ---


@each_service
def test_it_has_a_health_check_or_says_why_not(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) != ("x-no-healthcheck" in service)
    assert "healthcheck" not in service or {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])


@each_service
def test_it_says_what_happens_when_it_ends(name: str) -> None:
    assert SERVICES[name]["restart"] in {"unless-stopped", "on-failure:5", "no"}


@each_service
def test_it_waits_for_what_can_come_true(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        one_shot = SERVICES[other]["restart"] == "no"
        assert wait["condition"] == ("service_completed_successfully" if one_shot else "service_healthy")
        assert one_shot or "healthcheck" in SERVICES[other]
        # Compose refuses to start something whose dependency no profile starts, unless it may be missing.
        assert "profiles" not in SERVICES[other] or wait["required"] is False


def test_either_broker_answers_to_the_same_name() -> None:
    for name in ("kafka", "redpanda"):
        assert SERVICES[name]["profiles"] == [name]
        assert SERVICES[name]["networks"]["default"]["aliases"] == ["broker"]


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that answers with the parameter where servers are asked if they are ready."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.path in ("/readyz", "/health/ready")
            self.send_response(request.param if asked else HTTPStatus.NOT_FOUND)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["qdrant", "registry", "kv"])
@pytest.mark.parametrize("answering", [HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE], indirect=True)
def test_a_server_that_is_not_ready_is_not_healthy(
    name: str, answering: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    kind, *command = SERVICES[name]["healthcheck"]["test"]
    assert kind == "CMD"
    here = [re.sub(r"(?<=127\.0\.0\.1[:/])\d+", str(answering), word) for word in command]
    healthy = subprocess.run(here, capture_output=True, timeout=20).returncode == 0
    assert healthy == (request.node.callspec.params["answering"] == HTTPStatus.OK)


# --- soma in it ---


@pytest.mark.parametrize("name", OURS)
def test_soma_gets_settings_that_there_are(name: str, tmp_path: Path) -> None:
    given = {key: str(value) for key, value in OURS[name]["environment"].items()}
    loaded = load_settings(environ={**given, "XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.settings.profile == "cluster"
    assert loaded.settings.log.replication_factor == 1
    left = [
        key
        for key, value in BUILT_IN_PROFILES["cluster"].items()
        if "localhost" in str(value) and catalogue()[key].variable not in given
    ]
    assert not left, "inside a container, localhost is the container"


@pytest.mark.parametrize("name", OURS)
def test_addresses_lead_to_services(name: str) -> None:
    hosts = re.findall(r"(?:@|//|^)([a-z]+):\d+", "\n".join(map(str, OURS[name]["environment"].values())), re.MULTILINE)
    assert sorted(hosts) == ["broker", "connect", "postgres", "qdrant", "redis", "registry"]


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_that_soma_takes(name: str) -> None:
    command, *arguments = OURS[name]["command"]
    parser: Any = typer.main.get_command(app)
    if command == "--help":
        return
    parser.commands[command].make_context(command, list(arguments)).close()


def test_every_projection_has_its_worker() -> None:
    assert {tuple(one["command"][:2]) for one in OURS.values() if one["command"][0] == "consume"} == {
        ("consume", worker) for worker in ("kv", "vector", "audit", "latest")
    }


@pytest.mark.parametrize("name", [name for name, one in OURS.items() if one["command"][0] == "consume"])
def test_a_worker_has_time_to_drain(name: str) -> None:
    assert int(OURS[name]["stop_grace_period"].rstrip("s")) > WorkerSettings().drain_timeout_s


# --- the same servers as in the tests ---


def test_the_broker_is_set_up_like_that_of_the_tests() -> None:
    one = [Ports(broker=1, controller=2, client=None)]
    here, local = broker_settings(), local_broker_settings(0, one, Path("/nowhere"))
    shared = set(here) & set(local)
    assert {name: here[name] for name in shared} == {name: local[name] for name in shared}
    assert shared >= {
        "auto.create.topics.enable",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
        "group.initial.rebalance.delay.ms",
    }


@pytest.mark.parametrize(
    ("service", "artifact"), [("kafka", "kafka.version"), ("registry", "apicurio.version")], ids=["kafka", "registry"]
)
def test_the_version_is_that_of_the_tests(service: str, artifact: str) -> None:
    pom = (ROOT / "tests/services/pom.xml").read_text(encoding="utf-8")
    version = re.search(rf"<{re.escape(artifact)}>(.+?)<", pom)
    assert version is not None
    assert SERVICES[service]["image"].endswith(f":{version[1]}")


def test_connect_is_set_up_like_that_of_the_tests() -> None:
    given = {name.removeprefix("CONNECT_"): str(value) for name, value in SERVICES["connect"]["environment"].items()}
    place = {"bootstrap.servers", "plugin.path", "listeners", "config.storage.replication.factor"}
    place |= {"offset.storage.replication.factor", "status.storage.replication.factor"}
    wanted = {name: value for name, value in worker_settings().items() if name not in place}
    assert {name: given.get(name.upper().replace(".", "_")) for name in wanted} == wanted
    pom = (ROOT / "tests/services/connect-pom.xml").read_text(encoding="utf-8")
    version = re.search("<debezium.version>(.+?)<", pom)
    assert version is not None
    assert SERVICES["connect"]["image"].endswith(f":{version[1]}")


def test_postgres_keeps_what_it_has_committed() -> None:
    text = " ".join(SERVICES["postgres"]["command"])
    assert not re.search(r"fsync|synchronous_commit|full_page_writes", text)
    assert "--encoding=UTF8 --locale=C.UTF-8" in SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]


# --- the image ---


def test_the_image_gets_all_that_the_wheel_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], "LICENSE", *wheel["packages"], *wheel["force-include"]}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert needed <= copied
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules[1] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def test_the_image_is_slim_pinned_and_not_of_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim", base) for base in bases)
    assert fnmatch.fnmatch(re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1], "[1-9]*:[1-9]*")
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in OURS.values())


# --- the workflow ---


def test_the_workflow_starts_it_with_either_broker_and_runs_the_drill() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    assert "Not run where it was written" in text
    assert "broker: [kafka, redpanda]" in text
    at = [text.index(step) for step in ("cp .env.example .env", "up --detach --wait", "run: runbooks/first-start.sh")]
    assert at == sorted(at)


def test_the_workflow_uses_settings_that_there_are() -> None:
    known = {setting.variable for setting in catalogue().values()}
    assert set(re.findall(r"\bSOMA_[A-Z_]+\b", WORKFLOW.read_text(encoding="utf-8"))) <= known
