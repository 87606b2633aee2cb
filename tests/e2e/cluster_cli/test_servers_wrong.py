"""Every command against servers that are away, silent or not set up: a short message with server and setting, the
exit code, within bounds. Commands that read the store alone go on without the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import (
    NEED_LOG,
    NEED_STORE,
    SECRET,
    WORKERS,
    Installation,
    closed_port,
    failed,
    hurried,
    silent_listener,
)
from tests.services import kafka_address, postgres_dsn

SOME = ("get", "list", "lag", "init")


@pytest.mark.parametrize("name", NEED_LOG)
def test_the_broker_is_away(made: Installation, name: str) -> None:
    with closed_port() as port:
        code, error = failed(made, NEED_LOG[name], {"SOMA_LOG__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
    assert (code, error["code"]) == (4, "unavailable")
    assert f"127.0.0.1:{port}" in error["message"]
    assert "Connection refused" in error["message"]
    assert name not in ("store", "produce") or error["details"]["uncertain"] is False
    assert name != "store" or ("nothing was sent" in error["hint"] and error["details"]["event_id"])
    assert "log.bootstrap_servers" in error["hint"]


@pytest.mark.parametrize("name", ["store", "lag", "replay"])
def test_the_broker_accepts_and_never_answers(made: Installation, name: str) -> None:
    with silent_listener() as port:
        code, error = failed(made, NEED_LOG[name], {"SOMA_LOG__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
    assert (code, error["code"]) == (4, "unavailable")
    assert f"127.0.0.1:{port} within 1 s" in error["message"]
    assert "log.security.protocol" in error["hint"]


@pytest.mark.parametrize("address", ["http://localhost:9092", "localhost:9092;other", f"user:{SECRET}@host:9092"])
def test_an_address_of_brokers_that_is_none(made: Installation, address: str) -> None:
    code, error = failed(made, ["lag"], {"SOMA_LOG__BOOTSTRAP_SERVERS": address})
    assert (code, error["code"]) == (3, "configuration")
    assert "log.bootstrap_servers" in error["message"]


def test_reading_needs_no_broker(made: Installation) -> None:
    with closed_port() as port:
        away = hurried({"SOMA_LOG__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
        for arguments in (["search", "x"], ["list"], ["prune"]):
            done = made.inline(*arguments, env=away)
            assert done.returncode == 0, done.stderr
        code, error = failed(made, NEED_STORE["get"], away)
    assert (code, error["code"]) == (6, "not_found")
    assert "kv has events to pass yet is not known" in error["hint"]


@pytest.mark.parametrize("name", NEED_STORE)
def test_postgres_is_away(made: Installation, name: str) -> None:
    with closed_port() as port:
        dsn = f"postgresql://soma:{SECRET}@127.0.0.1:{port}/memories"
        code, error = failed(made, NEED_STORE[name], {"SOMA_STORE__DSN": dsn})
    assert (code, error["code"]) == (4, "unavailable")
    assert error["message"] == f"PostgreSQL at 127.0.0.1:{port}/memories cannot be reached: Connection refused"
    assert "store.dsn" in error["hint"]


@pytest.mark.parametrize("name", SOME)
def test_postgres_accepts_and_never_answers(made: Installation, name: str) -> None:
    with silent_listener() as port:
        dsn = f"postgresql://soma:{SECRET}@127.0.0.1:{port}/memories"
        code, error = failed(made, NEED_STORE[name], {"SOMA_STORE__DSN": dsn})
    assert (code, error["code"]) == (4, "unavailable")
    assert f"127.0.0.1:{port}/memories cannot be reached: connection timeout expired" in error["message"]


@pytest.mark.parametrize("dsn", [f"postgresql://soma:{SECRET}@[::/x", f"host=127.0.0.1 passwrd={SECRET}", SECRET])
def test_a_dsn_that_is_none(made: Installation, dsn: str) -> None:
    code, error = failed(made, ["list"], {"SOMA_STORE__DSN": dsn})
    assert (code, error["code"]) == (3, "store_dsn")
    assert "store.dsn" in error["message"]
    assert "postgresql://" in error["hint"]


@pytest.mark.parametrize("name", ["store", "history", "produce", "get", "list", "search", "lag", "replay"])
def test_nothing_was_set_up(tmp_path: Path, name: str) -> None:
    fresh = Installation(tmp_path, kafka_address(), postgres_dsn())
    code, error = failed(fresh, {**NEED_LOG, **NEED_STORE}[name], {})
    assert code == 3
    assert error["code"] in ("topic_missing", "not_initialised")
    assert "soma init" in error["hint"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_ends_at_once_where_nothing_was_set_up(tmp_path: Path, name: str) -> None:
    fresh = Installation(tmp_path, kafka_address(), postgres_dsn())
    code, error = failed(fresh, WORKERS[name], {})
    assert (code, error["code"]) in [(3, "topic_missing"), (3, "not_initialised")]


@pytest.mark.parametrize("url", ["localhost:6333", f"http://:{SECRET}@"])
def test_a_url_that_is_none(made: Installation, url: str) -> None:
    code, error = failed(made, ["search", "x"], {"SOMA_INDEX__KIND": "qdrant", "SOMA_INDEX__URL": url})
    assert code == 3
    assert "index.url" in error["message"] + error["hint"]


@pytest.mark.parametrize("name", ["search", "lag", "init"])
def test_the_index_is_away_or_silent(made: Installation, name: str) -> None:
    for server in (closed_port(), silent_listener()):
        with server as port:
            fault = {"SOMA_INDEX__KIND": "qdrant", "SOMA_INDEX__URL": f"http://127.0.0.1:{port}"}
            code, error = failed(made, NEED_STORE[name], fault)
        assert (code, error["code"]) == (4, "unavailable")
        assert f"127.0.0.1:{port}" in error["message"]
        assert "index.url" in error["hint"]
