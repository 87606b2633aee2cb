"""The servers of the tests answer their clients, survive what tests do to them, and end with their run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis

from tests.services import PostgresServer, RedisServer, new_database, postgres_dsn, redis_url, registry_url
from tests.services.ports import free_port, give_back
from tests.services.processes import ServerProcess, family, is_running
from tests.services.required import StartFailed, program

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.05)


def value(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def test_each_postgres_dsn_is_another_empty_database() -> None:
    first, second = postgres_dsn(), postgres_dsn()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE here (id int)")
    assert value(first, "SELECT to_regclass('here')::text") == "here"
    assert value(second, "SELECT to_regclass('here')::text") is None


def test_the_shared_redis_answers_and_stays_the_same() -> None:
    with redis.Redis.from_url(redis_url()) as client:
        assert client.ping()
    assert redis_url() == redis_url()


def test_the_registry_refuses_an_incompatible_version() -> None:
    name = str(uuid4())
    subject = f"{registry_url()}/subjects/{name}/versions"
    headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
    # The registry tells the kind of a schema by its $schema, and refuses one without.
    number, string = (
        {"schemaType": "JSON", "schema": json.dumps({"$schema": DRAFT_7, "type": kind})}
        for kind in ("number", "string")
    )
    with httpx.Client(trust_env=False, headers=headers, timeout=30) as client:
        assert client.post(subject, json=number).status_code == 200
        assert client.put(f"{registry_url()}/config/{name}", json={"compatibility": "BACKWARD"}).status_code == 200
        assert client.post(subject, json=string).status_code == 409


def test_postgres_keeps_what_was_committed_when_it_is_killed() -> None:
    with PostgresServer() as server:
        dsn = new_database(server.address)
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn)
        server.start()
        assert value(dsn, "SELECT n FROM kept") == 7


def test_postgres_can_be_put_back_to_an_older_backup() -> None:
    with PostgresServer(durable=False) as server:
        server.stop()
        backup = server.backup()
        dsn = new_database(server.start().address)
        server.stop()
        server.put_back(backup)
        server.start()
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(dsn)


def test_postgres_with_a_password_refuses_a_wrong_one() -> None:
    with PostgresServer(durable=False, password="right") as server:
        assert value(server.address, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.address.replace("right", "wrong"))


def test_a_paused_postgres_leaves_its_clients_waiting() -> None:
    with PostgresServer(durable=False) as server, psycopg.connect(server.address, autocommit=True) as connection:
        server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.address, connect_timeout=2)
        server.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_redis_with_a_log_keeps_what_it_had_when_it_is_killed() -> None:
    with RedisServer(password="secret", settings={"appendonly": "yes"}) as server:
        with redis.Redis.from_url(server.address) as client:
            client.set("kept", "7")
        server.kill()
        server.start()
        with redis.Redis.from_url(server.address) as client:
            assert client.get("kept") == b"7"


def test_a_paused_redis_leaves_its_clients_waiting() -> None:
    with RedisServer() as server, redis.Redis.from_url(server.address, socket_timeout=20) as client:
        assert client.ping()
        server.pause()
        with (
            redis.Redis.from_url(server.address, socket_timeout=0.3) as hasty,
            pytest.raises(redis.TimeoutError),
        ):
            hasty.ping()
        server.resume()
        assert client.ping()


def test_a_server_that_does_not_start_shows_its_output(tmp_path: Path) -> None:
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--no-such-setting", "1"]
    server = ServerProcess(command, tmp_path / "redis.log", lambda _: False)
    with pytest.raises(StartFailed, match=r"(?s)redis ended while it started.*no-such-setting"):
        server.start()
    give_back(port)


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_program_is_named_with_its_package(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SOMA_REQUIRE_SERVICES", required)
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as ended:
        RedisServer()
    assert ended.type is outcome
    assert "redis-server is missing: install Debian's package redis-server" in str(ended.value)


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    code = f"from tests.services import ports; print([p for p in {ports} if ports._reserve(p)])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for port in ports:
        give_back(port)
    assert out.stdout.strip() == "[]"


INNER_TESTS = """
import os, pathlib, time
import pytest
from tests.services import RedisServer, postgres_dsn, redis_url

FOLDER = pathlib.Path(__file__).parent

@pytest.mark.parametrize("number", [1, 2])
def test_servers(number):
    postgres_dsn()
    with RedisServer():
        (FOLDER / f"{number}.new").write_text(redis_url())
        (FOLDER / f"{number}.new").rename(FOLDER / f"{number}.ready")
        while not (FOLDER / "go").exists():
            time.sleep(0.05)
        assert number == 1
"""


@pytest.fixture
def inner_run(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another run of pytest with two workers, both of which have servers; its second test is going to fail."""
    (tmp_path / "test_inner.py").write_text(INNER_TESTS)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SOMA_TEST_RUN"))}
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-n", "2", "--dist", "load"]
    command += ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(tmp_path / "test_inner.py")]
    with (tmp_path / "out").open("wb") as out:
        run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.ready"))) == 2, "the inner run's servers")
        yield run
    finally:
        run.kill()
        run.wait()


def servers_of(run: subprocess.Popen[bytes]) -> set[int]:
    pids = set(family(run.pid)) - {run.pid}
    names = list[str]()
    for pid in pids:
        with suppress(OSError):  # some of PostgreSQL's come and go
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    assert names.count("redis-server") == 3, names
    assert "postgres" in names
    return pids


def test_servers_of_a_run_end_with_it(inner_run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pids = servers_of(inner_run)
    addresses = {file.read_text() for file in tmp_path.glob("*.ready")}
    assert len(addresses) == 1, "both workers share one server"
    (tmp_path / "go").touch()
    assert inner_run.wait(PATIENCE_S) == 1, (tmp_path / "out").read_text()
    wait_until(lambda: not any(map(is_running, pids)), "the end of the servers")


def test_servers_of_a_run_end_when_its_controller_is_killed(inner_run: subprocess.Popen[bytes]) -> None:
    pids = servers_of(inner_run)
    inner_run.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), "the end of the servers")


def test_servers_of_a_run_end_when_all_its_processes_are_killed(inner_run: subprocess.Popen[bytes]) -> None:
    pids = servers_of(inner_run)
    os.killpg(inner_run.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), "the end of the servers")


def test_a_shared_server_ends_when_its_keeper_is_killed(inner_run: subprocess.Popen[bytes]) -> None:
    pids = servers_of(inner_run)
    keepers = [pid for pid in pids if b"tests.services.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    kept = {below for keeper in keepers for below in family(keeper)}
    for keeper in keepers:
        os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, kept)), "the end of what they kept")
