"""Kafka Connect's REST interface where something strange answers: bounded, of the right types, without a secret."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from soma_cli.core.adapters import bounded_http
from soma_cli.core.adapters.connect.connect_http import ConnectHttp
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.settings import ConnectSettings
from tests.services.front import Front, Reply
from tests.services.ports import free_port

JSON = "application/json"
FINE = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "FAILED", "trace": "x"}]}


@pytest.fixture
def front() -> Iterator[Front]:
    with Front(f"http://127.0.0.1:{free_port()}") as made:
        yield made


@contextmanager
def connect(address: str, timeout_s: float = 5.0) -> Iterator[ConnectHttp]:
    with closing(ConnectHttp(ConnectSettings(url=address, timeout_s=timeout_s))) as opened:
        yield opened


def test_what_connect_answers_is_taken(front: Front) -> None:
    front.answer = lambda method, path: Reply(200, JSON, json.dumps(FINE).encode())
    with connect(front.address) as opened:
        assert opened.status("x") == FINE


@pytest.mark.parametrize(
    "status",
    [
        [], None, "x", 1, {}, {"connector": [], "tasks": []}, {"connector": {"state": "RUNNING"}, "tasks": None},
        FINE | {"tasks": [1, "x", None]}, FINE | {"tasks": [{"state": "RUNNING"}]}, FINE | {"tasks": [{"id": 0}]},
        FINE | {"connector": {"state": 1}}, FINE | {"connector": {"state": "FAILED", "trace": 1}},
    ],
)  # fmt: skip
def test_a_status_that_is_none_is_not_connects(front: Front, status: object) -> None:
    front.answer = lambda method, path: Reply(200, JSON, json.dumps(status).encode())
    with connect(front.address) as opened, pytest.raises(ConfigurationError, match="not Kafka Connect's"):
        opened.status("x")


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("4.1.1", ("POST", "/connectors")), ("3.7.0-x", ("POST", "/connectors")), ("mine", ("POST", "/connectors")),
        ("3.6.2", ("PUT", "/connectors/a%2Fb/config")),
    ],
)  # fmt: skip
def test_one_is_made_stopped_where_connect_can_do_that(front: Front, version: str, asked: tuple[str, str]) -> None:
    front.answer = lambda method, path: Reply(
        200, JSON, json.dumps({"version": version, "kafka_cluster_id": "x"}).encode()
    )
    with connect(front.address) as opened:
        opened.make("a/b", {"x": "y"})
    assert front.asked[-1] == asked


def test_one_that_a_worker_has_not_heard_of_yet_is_asked_for_again(front: Front) -> None:
    absent = Reply(404, JSON, b'{"error_code": 404, "message": "Unknown connector x"}')
    stopped = Reply(200, JSON, b'{"connector": {"state": "STOPPED"}, "tasks": []}')
    front.answer = lambda method, path: absent if len(front.asked) < 3 else stopped
    with connect(front.address) as opened:
        opened.stop("x")
    assert [method for method, _ in front.asked] == ["PUT", "PUT", "PUT", "GET"]


@pytest.mark.parametrize("answer", [b"[1]", b"null", b'"x"', b"[" * 100_000, b"{}" * 2])
def test_other_answers_that_are_none_are_not_connects(front: Front, answer: bytes) -> None:
    front.answer = lambda method, path: Reply(200, JSON, answer)
    for ask in (ConnectHttp.version, ConnectHttp.plugins, lambda one: one.config("x")):
        with connect(front.address) as opened, pytest.raises(ConfigurationError, match="not Kafka Connect's"):
            ask(opened)


def test_a_huge_answer_is_not_read_to_its_end(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LARGEST_ANSWER", 1 << 20)
    front.answer = lambda method, path: Reply(200, JSON, b" " * (2 << 20))
    with connect(front.address) as opened, pytest.raises(ConfigurationError, match="more than 1 MB"):
        opened.version()


def test_a_compressed_answer_is_not_unpacked(front: Front) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    front.answer = lambda method, path: Reply(200, JSON, bomb, (("content-encoding", "gzip"),))
    with connect(front.address) as opened, pytest.raises(ConfigurationError, match="gzip"):
        opened.version()


def test_an_answer_that_comes_in_drops_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n")
                for _ in range(300):
                    time.sleep(0.1)
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with connect(address, timeout_s=1.0) as opened, pytest.raises(ServiceUnavailable, match="within 1 s"):
            opened.version()
        assert time.monotonic() - began < 15
        thread.join()


def test_it_is_asked_again_while_it_gives_its_work_out_anew(front: Front) -> None:
    busy = json.dumps({"error_code": 409, "message": "a rebalance is in process"}).encode()
    replies = [Reply(409, JSON, busy)] * 2
    front.answer = lambda method, path: replies.pop() if replies else Reply(200, JSON, json.dumps(FINE).encode())
    with connect(front.address) as opened:
        assert opened.status("x") == FINE
    assert replies == []
    front.answer = lambda method, path: Reply(409, JSON, busy)
    with connect(front.address, timeout_s=0.5) as opened, pytest.raises(ServiceUnavailable) as raised:
        opened.status("x")
    assert raised.value.code == "connect_busy"


@pytest.mark.parametrize("status", [400, 409, 422, 500, 503])
def test_a_password_that_the_server_repeats_is_not_shown(front: Front, status: int) -> None:
    said = json.dumps({"error_code": status, "message": "boom s3cret/it and s3cret%2Fit\n\x1b[31m"}).encode()
    front.answer = lambda method, path: Reply(status, JSON, said)
    address = front.address.replace("http://", "http://ada:s3cret%2Fit@")
    with connect(address) as opened, pytest.raises((ServiceUnavailable, ConfigurationError)) as raised:
        opened.version()
    text = f"{raised.value.message} {raised.value.hint}"
    assert "boom ***" in text
    assert not [part for part in ("s3cret", "\x1b", "\n") if part in text]
