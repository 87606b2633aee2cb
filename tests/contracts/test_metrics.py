"""What the metrics port says: to Prometheus' own tools, to a probe, and to who reads the page about it."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from soma_cli import __version__
from soma_cli.core.adapters.metrics.histogram import BatchHistogram
from soma_cli.core.adapters.metrics.prometheus import PROCESSING_BOUNDS_S, MetricsServer, PrometheusObserver
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.workers import loop
from soma_cli.core.workers.observation import UNOBSERVED, Observer, WorkerState
from soma_cli.core.workers.projection import Tally

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus"


@pytest.fixture
def serve() -> Iterator[Callable[..., MetricsServer]]:
    """Start a metrics server on a free port; it ends with the test."""
    servers: list[MetricsServer] = []

    def start(**options: Any) -> MetricsServer:
        servers.append(MetricsServer(options.pop("port", 0), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def asked(server: MetricsServer, path: str) -> tuple[int, Any]:
    status, body, _ = ask(server, path)
    return status, json.loads(body)


def some_of_everything(observer: Observer) -> None:
    observer.state("kv", "starting", "")
    observer.batch("kv", Tally(read=6, applied=2, duplicate=1, ignored=1, rejected=1, redelivered=1), 0.02, [0.1, 0.4])
    observer.retry("kv", "unavailable")
    observer.dead_letters("kv", 2)
    observer.cache(hits=3, misses=2, errors=1)
    observer.lag("kv", 3, 17, 4.5)
    observer.state("kv", "retrying", "Postgres is away")
    observer.turn("vector")


def values(observer: PrometheusObserver) -> dict[str, float]:
    """Every series as it is written: name and labels."""
    found = {}
    for family in text_string_to_metric_families(observer.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def promtool(*arguments: str, input: bytes = b"") -> str:
    program = shutil.which("promtool")
    if program is None:
        message = "promtool is missing: install Debian's package prometheus"
        (pytest.fail if os.environ.get("SOMA_REQUIRE_SERVICES") == "1" else pytest.skip)(message)
    done = subprocess.run([program, *arguments], input=input, capture_output=True, timeout=60, cwd=ALERTS)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


# --- metrics -----------------------------------------------------------------------------------------------------


def test_promtool_finds_nothing_to_say(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    some_of_everything(server.observer)
    status, body, headers = ask(server, "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"soma_events_total" in body
    assert promtool("check", "metrics", input=body).strip() == ""


def test_every_observation_is_counted() -> None:
    observer = PrometheusObserver()
    began = time.time()
    some_of_everything(observer)
    found = values(observer)
    kv = "{partition=3,topic=memory.events,worker=kv}"
    assert {name: found[name] for name in found if name.startswith("soma_events_total")} == {
        "soma_events_total{outcome=applied,worker=kv}": 2,
        "soma_events_total{outcome=duplicate,worker=kv}": 1,
        "soma_events_total{outcome=ignored,worker=kv}": 1,
        "soma_events_total{outcome=rejected,worker=kv}": 1,
        "soma_events_total{outcome=redelivered,worker=kv}": 1,
    }
    assert found["soma_batch_size_sum{worker=kv}"] == 6
    assert found["soma_batch_seconds_sum{worker=kv}"] == 0.02
    assert found["soma_batch_seconds_count{worker=kv}"] == 1
    assert found["soma_processing_seconds_count{worker=kv}"] == 2
    assert found["soma_processing_seconds_sum{worker=kv}"] == pytest.approx(0.5)
    assert found["soma_retries_total{code=unavailable,worker=kv}"] == 1
    assert found["soma_dead_letters_total{worker=kv}"] == 2
    assert [found[f"soma_cache_requests_total{{result={one}}}"] for one in ("hit", "miss", "error")] == [3, 2, 1]
    assert (found[f"soma_lag_messages{kv}"], found[f"soma_lag_oldest_seconds{kv}"]) == (17, 4.5)
    assert began <= found["soma_last_commit_timestamp_seconds{worker=kv}"] <= time.time()
    assert began <= found["soma_last_turn_timestamp_seconds{worker=vector}"] <= time.time()
    assert found["process_resident_memory_bytes{}"] > 1e6
    assert any(name.startswith("soma_build_info") and __version__ in name for name in found)


def test_a_worker_is_in_one_state() -> None:
    observer = PrometheusObserver()
    for state in get_args(WorkerState):
        observer.state("kv", state, "")
        shown = {name: value for name, value in values(observer).items() if name.startswith("soma_worker_state")}
        assert len(shown) == len(get_args(WorkerState))
        assert [name for name, value in shown.items() if value] == [f"soma_worker_state{{state={state},worker=kv}}"]


def test_the_states_are_those_of_the_loop() -> None:
    assert set(get_args(loop.State)) == set(get_args(WorkerState))


def test_counters_begin_at_zero() -> None:
    observer = PrometheusObserver()
    observer.state("kv", "starting", "")
    found = values(observer)
    for name in ("soma_events_total{outcome=rejected,worker=kv}", "soma_dead_letters_total{worker=kv}"):
        assert found[name] == 0
    assert found["soma_processing_seconds_count{worker=kv}"] == 0
    assert found["soma_retries_total{code=unavailable,worker=kv}"] == 0


def test_the_lag_of_a_partition_that_went_elsewhere_is_not_told() -> None:
    observer = PrometheusObserver()
    observer.lag("kv", 0, 5, None)
    observer.lag("kv", 1, 6, 1.0)
    observer.lag("kv", 1, 7, 1.0, topic="embedding.requests")
    observer.unassigned("kv", 1)
    observer.unassigned("kv", 9)
    shown = {name: value for name, value in values(observer).items() if name.startswith("soma_lag_")}
    assert shown == {
        "soma_lag_messages{partition=0,topic=memory.events,worker=kv}": 5,
        "soma_lag_oldest_seconds{partition=0,topic=memory.events,worker=kv}": 0,
        "soma_lag_messages{partition=1,topic=embedding.requests,worker=kv}": 7,
        "soma_lag_oldest_seconds{partition=1,topic=embedding.requests,worker=kv}": 1,
    }


def test_two_observers_keep_to_themselves() -> None:
    one, other = PrometheusObserver(), PrometheusObserver()
    one.dead_letters("kv", 1)
    assert "soma_dead_letters_total{worker=kv}" not in values(other)


def test_observations_from_many_threads_are_all_counted() -> None:
    observer = PrometheusObserver()

    def work() -> None:
        for _ in range(200):
            observer.batch("kv", Tally(read=2, applied=2), 0.01, [0.3, 0.6])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = values(observer)
    assert found["soma_events_total{outcome=applied,worker=kv}"] == 3200
    assert found["soma_processing_seconds_bucket{le=0.5,worker=kv}"] == 1600
    assert found["soma_processing_seconds_count{worker=kv}"] == 3200


def test_nobody_need_listen() -> None:
    some_of_everything(UNOBSERVED)
    UNOBSERVED.unassigned("kv", 0)


def test_a_batch_of_values_is_counted_as_one_by_one() -> None:
    from prometheus_client import CollectorRegistry, Histogram, generate_latest

    bounds = PROCESSING_BOUNDS_S
    batches = [[], [0.5], [0.0, 0.005, 0.0051, 60.0, 60.1, 99.0], [-0.3, 0.02], [n / 777 for n in range(5000)]]
    registry, reference = CollectorRegistry(), CollectorRegistry()
    ours = BatchHistogram("t_seconds", "Seconds.", bounds)
    registry.register(ours)
    theirs = Histogram("t_seconds", "Seconds.", ["worker"], buckets=bounds, registry=reference)
    for batch in batches:
        ours.observe("kv", batch)
        for value in batch:
            theirs.labels("kv").observe(max(0.0, value))

    def lines(one: CollectorRegistry) -> list[str]:
        text = generate_latest(one).decode().splitlines()
        return [line for line in text if "_created" not in line and "_sum" not in line]

    assert lines(registry) == lines(reference)
    label = {"worker": "kv"}
    assert registry.get_sample_value("t_seconds_sum", label) == pytest.approx(
        reference.get_sample_value("t_seconds_sum", label)
    )


def test_the_objective_is_a_bound_of_the_histogram() -> None:
    assert 0.5 in PROCESSING_BOUNDS_S


# --- health ------------------------------------------------------------------------------------------------------


def test_a_worker_that_goes_round_is_alive(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    server.observer.state("kv", "retrying", "Postgres is away")
    status, body = asked(server, "/healthz")
    assert (status, body["status"], body["reason"]) == (200, "ok", "")
    assert [(one["worker"], one["state"], one["detail"]) for one in body["workers"]] == [
        ("kv", "retrying", "Postgres is away")
    ]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_hangs_is_not(serve: Callable[..., MetricsServer]) -> None:
    server = serve(observer=PrometheusObserver(silent_after_s=0.2))
    server.observer.state("kv", "running", "a batch")
    server.observer.state("vector", "stopped", "")
    eventually(lambda: asked(server, "/healthz")[0] == 503)
    body = asked(server, "/healthz")[1]
    assert "the worker kv has made no turn for" in body["reason"]
    assert "it was running (a batch)" in body["reason"]
    assert "vector" not in body["reason"]
    assert asked(server, "/readyz")[0] == 503

    def goes_round() -> bool:
        server.observer.turn("kv")
        return asked(server, "/healthz")[0] == 200

    eventually(goes_round)


def test_a_process_whose_worker_never_begins_is_not(serve: Callable[..., MetricsServer]) -> None:
    server = serve(observer=PrometheusObserver(silent_after_s=0.2))
    eventually(lambda: asked(server, "/healthz")[0] == 503)
    assert asked(server, "/healthz")[1]["reason"] == "no worker has begun within 0.2 s"


def test_odd_words_of_a_server_do_not_fail_the_page(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    server.observer.state("kv", "retrying", "\udcff \0 \n")
    status, body = asked(server, "/healthz")
    assert (status, body["workers"][0]["detail"]) == (200, "\udcff \0 \n")


# --- readiness ---------------------------------------------------------------------------------------------------


def test_ready_where_every_check_passes(serve: Callable[..., MetricsServer]) -> None:
    server = serve(checks={"log": lambda: None, "store": lambda: None})
    status, body = asked(server, "/readyz")
    assert status == 200
    assert body == {
        "status": "ok",
        "checks": [{"name": name, "ok": True, "message": ""} for name in ("workers", "log", "store")],
    }


def test_not_ready_where_one_fails(serve: Callable[..., MetricsServer], caplog: pytest.LogCaptureFixture) -> None:
    def away() -> None:
        raise ServiceUnavailable("Postgres is away")

    def broken() -> None:
        raise RuntimeError("password=hunter2")

    server = serve(checks={"store": away, "log": lambda: None, "index": broken})
    with caplog.at_level(logging.CRITICAL, "soma"):
        status, body = asked(server, "/readyz")
    assert (status, body["status"]) == (503, "failing")
    assert body["checks"][1:] == [
        {"name": "store", "ok": False, "message": "Postgres is away"},
        {"name": "log", "ok": True, "message": ""},
        {"name": "index", "ok": False, "message": "the check itself failed (RuntimeError)"},
    ]


def test_a_check_that_hangs_costs_its_time_limit_and_is_not_started_twice(serve: Callable[..., MetricsServer]) -> None:
    release, started, quick = threading.Event(), [], []
    server = serve(
        checks={"hangs": lambda: (started.append(1), release.wait(30), None)[-1], "quick": lambda: quick.append(1)},
        check_timeout_s=1.0,
        check_kept_s=0.0,
    )
    try:
        for _ in range(3):
            began = time.monotonic()
            status, body = asked(server, "/readyz")
            assert 1.0 <= time.monotonic() - began < 15
            assert status == 503
            assert "no answer for" in body["checks"][1]["message"]
            assert body["checks"][2]["ok"]
        assert (len(started), len(quick)) == (1, 3)
    finally:
        release.set()
    eventually(lambda: "readiness hangs" not in [thread.name for thread in threading.enumerate()])
    assert asked(server, "/readyz")[0] == 200
    assert len(started) == 2, "the late answer was taken for a new one"


def test_answers_are_kept_for_a_moment_and_then_looked_up(serve: Callable[..., MetricsServer]) -> None:
    looked: list[int] = []
    server = serve(checks={"log": lambda: looked.append(1)}, check_kept_s=3600)
    for _ in range(5):
        asked(server, "/readyz")
    assert len(looked) == 1
    for_a_moment = serve(checks={"log": lambda: looked.append(2)}, check_kept_s=0.1)
    eventually(lambda: asked(for_a_moment, "/readyz")[0] == 200 and looked.count(2) == 2)


# --- the server --------------------------------------------------------------------------------------------------


def test_other_paths_are_not_found_and_name_the_right_ones(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    status, body, _ = ask(server, "/")
    assert status == 404
    assert b"/metrics, /healthz, /readyz" in body
    assert ask(server, "/metrics?x=1")[0] == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/nowhere"])
def test_head_answers_as_get_without_a_body(serve: Callable[..., MetricsServer], path: str) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)) as client, client.makefile("rb") as answer:
        client.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert body == b""
    assert int(head.split()[1]) == ask(server, path)[0]
    assert re.search(rb"Content-Length: [1-9]", head)


def test_nobody_else_s_machine_is_listened_to_unless_told(serve: Callable[..., MetricsServer]) -> None:
    assert serve().url.startswith("http://127.0.0.1:")
    assert serve(host="0.0.0.0").url.startswith("http://0.0.0.0:")


def test_an_address_of_ipv6_will_do(serve: Callable[..., MetricsServer]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = serve(host="::1")
    assert server.url == f"http://[::1]:{server.port}"


def test_a_port_in_use_names_the_option(serve: Callable[..., MetricsServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            serve(port=port)
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "Address already in use" in caught.value.message
    assert "--metrics-port" in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [{"host": "192.0.2.1"}, {"host": "x" * 300}, {"port": 70_000}],
    ids=["not ours", "no host", "no port"],
)
def test_a_place_that_cannot_be_listened_at(serve: Callable[..., MetricsServer], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        serve(**options)
    assert "worker.metrics_host" in caught.value.hint


def test_close_gives_the_port_back(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)) as client, client.makefile("rb") as answer:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer.read()  # to the end, which the server makes: the connection lingers on its side
    server.close()
    server.close()
    assert serve(port=server.port).port == server.port


def test_a_client_that_says_nothing_keeps_nobody_waiting(serve: Callable[..., MetricsServer]) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)):
        assert asked(server, "/healthz")[0] == 200


def test_a_client_that_goes_away_is_no_news(
    serve: Callable[..., MetricsServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert asked(server, "/healthz")[0] == 200
    server.close()
    assert capfd.readouterr() == ("", "")


# --- what stands elsewhere about it ------------------------------------------------------------------------------


def test_the_page_lists_what_is_exposed_and_nothing_else() -> None:
    observer = PrometheusObserver()
    some_of_everything(observer)
    exposed = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", observer.exposition().decode(), re.MULTILINE):
        labels = {label for found in values(observer) for label in _labels(found, name)}
        exposed[name] = (kind, labels)
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?)\|", page, re.MULTILINE)
    }
    assert listed == exposed


def _labels(series: str, name: str) -> list[str]:
    """The labels of a series of this metric; a histogram's bounds are not counted."""
    found = re.fullmatch(rf"{name}(?:_bucket|_sum|_count)?\{{(.*)\}}", series)
    return [label for label in re.findall(r"(\w+)=", found[1]) if label != "le"] if found else []


def test_the_alert_rules_are_right() -> None:
    promtool("check", "rules", "soma-alerts.yml")
    promtool("test", "rules", "soma-alerts.test.yml")


def test_every_alert_has_a_test_and_names_metrics_that_there_are() -> None:
    rules = (ALERTS / "soma-alerts.yml").read_text(encoding="utf-8")
    names = re.findall(r"alert: (\w+)", rules)
    tested = re.findall(r"alertname: (\w+)\n +exp_alerts:\n", (ALERTS / "soma-alerts.test.yml").read_text("utf-8"))
    assert len(names) > 5
    assert set(names) == set(tested)
    observer = PrometheusObserver()
    some_of_everything(observer)
    exposed = {series.partition("{")[0] for series in values(observer)}
    exposed |= {name.removesuffix("_bucket") for name in exposed}
    assert set(re.findall(r"\bsoma_\w+", rules)) <= exposed
