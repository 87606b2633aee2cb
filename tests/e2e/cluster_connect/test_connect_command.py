"""soma connect: what it changes, what it tells, and what it says where Connect is away or another."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from soma_cli.core.event import version_of
from soma_cli.core.record import EVENTS_TOPIC
from tests.e2e.cluster.installation import wait_until_kv_is_at_the_end
from tests.e2e.cluster.load import Stream, append
from tests.e2e.cluster_connect.installation import Landed
from tests.e2e.conftest import wait_until
from tests.services import ConnectServer, kafka_address, postgres_dsn
from tests.services.ports import free_port
from tests.services.web import WebServer


def _error(landed: Landed, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = landed.inline(*arguments, "-o", "json")
    return done.returncode, json.loads(done.stderr)["error"]


def _wait_until_it_runs(landed: Landed) -> None:
    wait_until(lambda: landed.run("connect", "status").returncode == 0, "a connector that runs")


def test_apply_makes_it_and_a_second_run_has_nothing_to_do(landed: Landed) -> None:
    _wait_until_it_runs(landed)
    again = landed.apply()
    assert (again["action"], again["changes"], again["restart_at"], again["executed"]) == ("nothing", [], [], True)
    landed.choose(store__dsn=f"{landed.dsn}?application_name=x&sslmode=disable")
    planned = landed.json("connect", "apply", "--plan")
    assert (planned["action"], planned["executed"]) == ("change", False)
    assert [change["key"] for change in planned["changes"]] == ["connection.url"]
    assert landed.apply()["action"] == "change"
    assert landed.json("connect", "apply", "--plan")["action"] == "nothing"


@pytest.mark.parametrize("what", ["stop", "pause"])
def test_one_that_somebody_stopped_is_started_again(landed: Landed, what: str) -> None:
    _wait_until_it_runs(landed)
    landed.ask("PUT", f"/{what}")
    state = {"stop": "STOPPED", "pause": "PAUSED"}[what]
    wait_until(lambda: f": {state}" in landed.run("connect", "status").stdout, state)
    found = landed.apply()
    assert (found["action"], bool(found["failures"]), bool(found["restart_at"])) == ("nothing", True, True)
    _wait_until_it_runs(landed)


def test_one_that_is_made_lands_nothing_that_kv_has_passed(landed: Landed) -> None:
    landed.choose(connect__applied="keep")
    with landed.library() as system:
        append(system, Stream(1), 40)
        landed.run_to_end("kv")
        wait_until(lambda: landed.rows("SELECT count(*) FROM memory_landing") == [(40,)], "what is to be truncated")
        landed.ask("DELETE")
        with psycopg.connect(landed.dsn) as connection:
            connection.execute("TRUNCATE memory_landing")
        landed.choose(connect__connector=f"{landed.prefix}second")
        assert sum(int(position.partition("@")[2]) for position in landed.apply()["restart_at"]) == 40
        append(system, Stream(2), 7)
        wait_until(lambda: landed.rows("SELECT count(*) FROM memory_landing") >= [(7,)], "rows of the second connector")
    assert landed.rows("SELECT count(*) FROM memory_landing") == [(7,)]


def test_a_connector_that_is_not_there_is_missed(landed: Landed) -> None:
    landed.choose(connect__connector=f"{landed.prefix}other")
    code, error = _error(landed, "connect", "status")
    assert (code, error["code"], error["details"]) == (7, "connector_unwell", {"state": "MISSING"})
    assert "soma connect apply" in error["hint"]


def test_connect_that_is_away_is_exit_4(landed: Landed) -> None:
    landed.choose(connect__url=f"http://127.0.0.1:{free_port()}")
    for command in (("connect", "status"), ("connect", "apply")):
        code, error = _error(landed, *command)
        assert (code, error["code"]) == (4, "connect_unavailable")
        assert "connect.url" in error["hint"]


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """A web server that has pages, and nothing of Connect."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with WebServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_that_is_not_connects_is_exit_3(landed: Landed, pages: str) -> None:
    for url in (pages, f"{landed.connect}/connectors", "ftp://nowhere"):
        landed.choose(connect__url=url)
        code, error = _error(landed, "connect", "status")
        assert (code, error["code"]) == (3, "connect_url"), error


def test_a_connect_without_the_plugin_is_told_which(tmp_path: Path) -> None:
    empty = tmp_path / "plugins"
    empty.mkdir()
    with (
        ConnectServer(kafka_address(), plugins=empty) as connect,
        Landed(tmp_path, kafka_address(), postgres_dsn(), connect.address) as landed,
    ):
        code, error = _error(landed, "connect", "apply")
    assert (code, error["code"]) == (3, "connect_plugin_missing")
    assert "io.debezium.connector.jdbc.JdbcSinkConnector" in error["message"]
    assert "plugin.path" in error["hint"]


def test_rows_of_a_topic_that_was_made_anew_are_not_taken_for_the_new_ones(landed: Landed) -> None:
    landed.choose(connect__applied="keep")
    with landed.library() as system:
        append(system, Stream(1), 50)
        landed.run_to_end("landing")
    _delete_topic(landed)
    assert landed.run("init", "--new-epoch").returncode == 0
    code, error = _error(landed, "connect", "status")
    assert (code, "topic id" in error["message"]) == (7, True)
    applied = landed.apply()
    assert [change["key"] for change in applied["changes"]] == ["transforms.source.static.value"]
    assert applied["restart_at"]
    assert all(position.endswith("@0") for position in applied["restart_at"])
    with landed.library() as system:
        append(system, Stream(2), 30)
        worker = landed.start("consume", "landing")
        wait_until_kv_is_at_the_end(system, worker)
        assert worker.terminated() == 0
        topic_id = system.adapters.log.topic_id(EVENTS_TOPIC)
    [(new, old)] = landed.rows(
        f"SELECT count(*) FILTER (WHERE version >= {version_of(1, 0)}), "
        f"count(*) FILTER (WHERE version < {version_of(1, 0)}) FROM memory_events"
    )
    assert (new, old) == (30, 50)
    wait_until(
        lambda: landed.rows(f"SELECT count(*) FROM memory_landing WHERE topic_id = '{topic_id}'") == [(30,)],
        "30 rows of the new topic",
    )


def _delete_topic(landed: Landed) -> None:
    admin = AdminClient({"bootstrap.servers": landed.kafka})
    name = landed.prefix + EVENTS_TOPIC
    admin.delete_topics([name])[name].result()
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, "a broker without the topic")


def test_two_installations_in_schemas_of_one_database_land_each_in_its_own(landed: Landed) -> None:
    with psycopg.connect(landed.dsn) as connection:
        connection.execute("CREATE SCHEMA other")
    first = landed.json("store", "--text", "in the public schema")
    landed.choose(store__dsn=f"{landed.dsn}?options=-csearch_path%3Dother", connect__connector=f"{landed.prefix}other")
    assert landed.run("init").returncode == 0
    landed.apply()
    landed.run_to_end("landing")
    wait_until(lambda: landed.rows("SELECT id::text FROM other.memories") == [(first["id"],)], "the row in its schema")
    assert landed.rows("SELECT count(*) FROM public.memories") == [(0,)]
