"""How the adapter for Qdrant tells failures: what is away, refuses, is full or too old, or is no Qdrant at all.

The small HTTP servers here stand for what else may answer at the address; none plays Qdrant's part.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from qdrant_client import models

from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.adapters.vector_index.qdrant_server import check_applied
from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError
from soma_cli.core.settings import IndexSettings
from tests.contracts.points import TOPIC
from tests.contracts.qdrant_indexes import InMemory, in_memory, uses
from tests.contracts.qdrant_indexes import client as client
from tests.services.web import WebServer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


def index_at(url: str | None, **settings: Any) -> QdrantIndex:
    return QdrantIndex(IndexSettings(kind="qdrant", url=url, **({"timeout_s": 1.0} | settings)))


@contextmanager
def answering(status: int, body: bytes, version: str | None = None, kind: str = "application/json") -> Iterator[str]:
    """The address of a server that answers everything alike, but what it is where a version is given."""
    about = json.dumps({"title": "qdrant - vector search engine", "version": version}).encode()

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = version is not None and self.path == "/"
            content = about if known else body
            self.send_response(200 if known else status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: Any) -> None:
            pass

    with WebServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_closed_port_is_a_service_that_is_away() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    for use in uses(index_at(f"http://127.0.0.1:{port}")):
        with pytest.raises(ServiceUnavailable) as away:
            use()
        assert f"127.0.0.1:{port}" in away.value.message
        assert "index.url" in away.value.hint


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        index = index_at(f"http://127.0.0.1:{listening.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="did not answer in time"):
            index.positions(TOPIC)
        assert time.monotonic() - begun < 20


def error(said: str) -> bytes:
    return json.dumps({"status": {"error": said}, "time": 0.0}).encode()


HTML = b"<html><body>nginx</body></html>"
ANSWERS: list[tuple[int, bytes, type[SomaError], str]] = [
    (401, b"Must provide an API key or an Authorization bearer token", ConfigurationError, "index.api_key"),
    (403, error("Forbidden: Write access to collection required"), ConfigurationError, "index.api_key"),
    (500, error("Service internal error: task panicked"), ServiceUnavailable, "task panicked"),
    (503, error("Service unavailable"), ServiceUnavailable, "503"),
    (502, HTML, ServiceUnavailable, "502"),
    (504, HTML, ServiceUnavailable, "index.url"),
    (429, error("Rate limiting exceeded"), ServiceUnavailable, "Rate limiting"),
    (500, error("Service internal error: No space left on device"), OutOfSpace, "no space left"),
    (404, error("Not found: Collection `memories` doesn't exist!"), ConfigurationError, "run `soma init`"),
    (404, HTML, ConfigurationError, "not Qdrant"),
    (200, HTML, ConfigurationError, "not Qdrant"),
    (200, b'{"result": {"unknown": 1}}', ConfigurationError, "not Qdrant"),
    (413, HTML, ConfigurationError, "32 MB"),
    (400, error("Wrong input: what is this"), SomaError, "what is this"),
]


@pytest.mark.parametrize(("status", "body", "kind", "said"), ANSWERS)
def test_answers_that_are_errors(status: int, body: bytes, kind: type[SomaError], said: str) -> None:
    with answering(status, body, "1.18.0") as url:
        for use in uses(index_at(url)):
            with pytest.raises(kind) as told:
                use()
            assert type(told.value) is kind
            assert said in f"{told.value.message} {told.value.hint}"
            assert "sesame" not in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize("status", [200, 301, 404])
def test_something_else_at_the_address_is_told(status: int) -> None:
    with answering(status, HTML, kind="text/html") as url:
        with pytest.raises(ConfigurationError, match="is not Qdrant") as told:
            index_at(url).positions(TOPIC)
        assert "index.url" in told.value.hint


def test_a_server_that_is_too_old_is_told() -> None:
    """It would pass over the conditions of upserts without a word."""
    with answering(500, b"", "1.15.4") as url, pytest.raises(ConfigurationError, match=r"1\.15\.4; soma needs 1\.18"):
        index_at(url).positions(TOPIC)


@pytest.mark.parametrize("url", [None, "ftp://somewhere:1", "http://[::1"])
def test_an_address_that_leads_nowhere_is_a_configuration_error(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"index\.url"):
        index_at(url).positions(TOPIC)


def test_neither_key_nor_password_is_told(client: InMemory) -> None:
    index = in_memory(client, url="http://someone:sesame@qdrant.example:6333/path?key=sesame", api_key="sesame")()
    assert index.stats()["where"] == "http://qdrant.example:6333/path"
    findings = index.health()
    assert "sesame" not in repr(findings)
    assert "index key" in {finding.check for finding in findings}
    with answering(401, b"sesame", "1.18.0") as url:
        with pytest.raises(ConfigurationError) as refused:
            index_at(url, api_key="sesame").positions(TOPIC)
        assert "sesame" not in f"{refused.value.message} {refused.value.hint}"


def test_a_write_that_was_taken_and_not_applied_is_to_be_sent_again() -> None:
    check_applied([models.UpdateResult(status=models.UpdateStatus.COMPLETED)])
    for status in (models.UpdateStatus.ACKNOWLEDGED, models.UpdateStatus.WAIT_TIMEOUT):
        with pytest.raises(ServiceUnavailable):
            check_applied([models.UpdateResult(status=status)])
