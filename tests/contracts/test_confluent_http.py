"""The registry over HTTP beyond its contract: who it lets in, and what is wrong with servers that are none.

In front of the real registry stands a real HTTP server, with TLS, passwords or a fault.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from soma_cli.core.adapters import bounded_http
from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import ConfigurationError, InputRejected, ServiceUnavailable, SomaError
from soma_cli.core.settings import RegistrySettings
from tests.contracts.test_schema_registry import NEW, OLD, OTHER
from tests.services import registry_url
from tests.services.front import Certificates, Front, Reply

SECRET = "s3cret-of-the-test"
TIMEOUT_S = 1.0
AT_MOST_S = 30.0
JSON = "application/json"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@contextmanager
def opened(url: str, **settings: object) -> Iterator[ConfluentRegistry]:
    chosen: dict[str, Any] = {"kind": "confluent_http", "url": url, "timeout_s": 60.0, **settings}
    registry = ConfluentRegistry(RegistrySettings(**chosen))
    try:
        yield registry
    finally:
        registry.close()


def refused(kind: type[SomaError], url: str, *words: str, code: str = "", **settings: object) -> SomaError:
    """The error of reading from there, which names the server, has all the words, and tells no secret."""
    began = time.monotonic()
    with opened(url, **settings) as registry, pytest.raises(kind) as raised:
        registry.latest("any-value")
    assert time.monotonic() - began < AT_MOST_S
    error = raised.value
    assert error.code == (code or {3: "registry_misconfigured", 4: "registry_unavailable"}[error.exit_code])
    text = f"{error.message} | {error.hint}"
    assert [word for word in words if word not in text] == [], text
    assert SECRET not in f"{text} {error.details}"
    assert "127.0.0.1" in text or "localhost" in text
    assert "\n" not in text
    return error


# --- who is let in ---


def test_a_password_lets_in_and_a_wrong_one_does_not() -> None:
    with Front(registry_url(), users={"ada": SECRET}) as front:
        with opened(front.address, username="ada", password=SECRET) as registry:
            assert registry.latest(f"{uuid4()}-value") is None
        wrong = {"username": "ada", "password": "wrong"}
        error = refused(ConfigurationError, front.address, "401", "who are you?", code="registry_forbidden", **wrong)
        assert "registry.username and registry.password" in error.hint
        assert "set registry.username" in refused(ConfigurationError, front.address, code="registry_forbidden").hint


def test_user_and_password_may_stand_in_the_address() -> None:
    with Front(registry_url(), users={"ada": SECRET}) as front:
        url = front.address.replace("http://", f"http://ada:{SECRET}@")
        with opened(url) as registry:
            assert registry.latest(f"{uuid4()}-value") is None
            assert SECRET not in registry.where()
        refused(ConfigurationError, url.replace("ada", "eve"), "401", code="registry_forbidden")


def test_a_token_lets_in_and_a_wrong_one_does_not() -> None:
    with Front(registry_url(), tokens=(SECRET,)) as front:
        with opened(front.address, token=SECRET) as registry:
            assert registry.latest(f"{uuid4()}-value") is None
        refused(ConfigurationError, front.address, "registry.token", code="registry_forbidden", token="wrong")


def test_a_right_that_is_missing_is_told() -> None:
    with Front(registry_url()) as front:
        front.answer = lambda method, path: Reply(403, JSON, b'{"error_code":40301,"message":"not yours"}')
        refused(ConfigurationError, front.address, "403", "not yours", "right", code="registry_forbidden")


def test_a_certificate_of_an_authority_that_is_named_is_trusted(certificates: Certificates) -> None:
    with Front(registry_url(), tls=certificates.serving(), users={"ada": SECRET}) as front:
        trusted = {"ca_file": certificates.authority, "username": "ada", "password": SECRET}
        with opened(front.address, **trusted) as registry:
            subject = f"{uuid4()}-value"
            assert registry.register(subject, OLD).version == 1
            assert registry.latest(subject) == registry.versions(subject)[0]
        refused(ConfigurationError, front.address, "not trusted", "registry.ca_file")


def test_a_server_that_asks_for_a_certificate_gets_it(certificates: Certificates) -> None:
    with Front(registry_url(), tls=certificates.serving(ask_client=True)) as front:
        ours = {"cert_file": certificates.client, "key_file": certificates.client_key}
        with opened(front.address, ca_file=certificates.authority, **ours) as registry:
            assert registry.latest(f"{uuid4()}-value") is None
        refused(
            ConfigurationError,
            front.address,
            "asks for a client's certificate",
            "registry.cert_file",
            ca_file=certificates.authority,
        )


def test_files_of_certificates_that_cannot_be_used_are_named(certificates: Certificates, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for settings, name in (
        ({"ca_file": tmp_path / "none.pem"}, "registry.ca_file"),
        ({"ca_file": empty}, "registry.ca_file"),
        ({"cert_file": empty}, "registry.cert_file"),
        ({"cert_file": certificates.client, "key_file": certificates.server_key}, "registry.key_file"),
    ):
        with opened("https://127.0.0.1:9", **settings) as registry, pytest.raises(ConfigurationError, match=name):
            registry.subjects()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"url": "ftp://host/x"}, "no address of a web server"),
        ({"url": "http://[::1"}, "no address"),
        ({"url": "http://h:99999"}, "no address"),
        ({"url": "http://h", "token": "a b"}, "registry.token"),
        ({"url": "http://h", "token": "t", "username": "u"}, "both set"),
        ({"url": "http://h", "key_file": Path("k")}, "registry.cert_file"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_asked(
    settings: dict[str, object], word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word):
        ConfluentRegistry(RegistrySettings(kind="confluent_http", **settings))  # type: ignore[arg-type]


# --- what is no registry, or is away ---


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        refused(ServiceUnavailable, f"http://127.0.0.1:{held.getsockname()[1]}", "refused", "registry.url")


def test_a_name_that_nobody_knows_is_worth_another_try() -> None:
    refused(ServiceUnavailable, "http://registry.localhost.invalid", "registry.localhost.invalid")


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a listener that does `serve` with each connection."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                    serve(kept[-1])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()
        thread.join()


def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    with listening(lambda connection: None) as port:
        refused(ServiceUnavailable, f"http://127.0.0.1:{port}", "no answer within 1 s", timeout_s=TIMEOUT_S)
        refused(ServiceUnavailable, f"https://127.0.0.1:{port}", "no answer within 1 s", timeout_s=TIMEOUT_S)


def test_an_answer_that_comes_in_drops_is_given_up() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
        for _ in range(300):
            time.sleep(0.1)
            connection.sendall(b" ")

    with listening(drip) as port:
        refused(ServiceUnavailable, f"http://127.0.0.1:{port}", "within 1 s", timeout_s=TIMEOUT_S)


def test_a_server_that_hangs_up_is_worth_another_try() -> None:
    with listening(lambda connection: connection.close()) as port:
        refused(ServiceUnavailable, f"http://127.0.0.1:{port}", timeout_s=5.0)


def test_a_server_that_speaks_no_http_is_told() -> None:
    with listening(lambda connection: connection.sendall(b"220 mail.example\r\n\r\n")) as port:
        refused(ServiceUnavailable, f"http://127.0.0.1:{port}", timeout_s=5.0)


def test_tls_to_a_server_without_it_is_told() -> None:
    with Front(registry_url()) as front:
        refused(ConfigurationError, front.address.replace("http:", "https:"), "does not speak TLS", "registry.url")


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(200, "text/html", b"<html>Welcome</html>"), ConfigurationError, ["text/html", "registry.url"]),
        (Reply(200, JSON, b'{"half": '), ConfigurationError, ["registry.url"]),
        (Reply(200, JSON, b"[1, 2]"), ConfigurationError, ["registry.url"]),
        (Reply(200, JSON, b""), ConfigurationError, ["registry.url"]),
        (Reply(200, JSON, b'{"version": "x"}'), ConfigurationError, ["no version and schema"]),
        (Reply(200, JSON, b'{"version": 1, "schema": "{}"}'), ConfigurationError, ["AVRO"]),
        (Reply(404, "text/html", b"<h1>Not Found</h1>"), ConfigurationError, ["no such path", "/apis/ccompat/v7"]),
        (Reply(405, JSON, b"{}"), ConfigurationError, ["no such path"]),
        (Reply(302, "", b"", (("location", "http://elsewhere/login?t=s3cret-of-the-test"),)), ConfigurationError,
         ["http://elsewhere/login", "registry.url"]),
        (Reply(407, "", b""), ConfigurationError, ["proxy"]),
        (Reply(418, "text/plain", b"teapot"), ConfigurationError, ["418", "teapot"]),
        (Reply(200, JSON, b"xx", (("content-encoding", "gzip"),)), ConfigurationError, ["'gzip'", "asked not to"]),
        (Reply(429, JSON, b'{"message": "slow down"}'), ServiceUnavailable, ["slow down"]),
        (Reply(500, JSON, b'{"error_code": 50001, "message": "store away"}'), ServiceUnavailable, ["store away"]),
        (Reply(502, "text/html", b"<html>Bad Gateway</html>"), ServiceUnavailable, ["502", "text/html"]),
        (Reply(422, JSON, b'{"error_code": 42205, "message": "mode READONLY"}'), ConfigurationError, ["READONLY"]),
    ],
    ids=lambda value: f"{value.status}-{value.content[:12].decode()}" if isinstance(value, Reply) else None,
)  # fmt: skip
def test_an_answer_that_is_none_is_one_clear_message(reply: Reply, kind: type[SomaError], words: list[str]) -> None:
    with Front(registry_url()) as front:
        front.answer = lambda method, path: reply
        code = "registry_forbidden" if reply.status == 422 else ""
        refused(kind, front.address, *words, code=code)


def test_a_huge_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LARGEST_ANSWER", 1 << 20)
    with Front(registry_url()) as front:
        front.answer = lambda method, path: Reply(200, JSON, b"[" + b" " * (2 << 20) + b"]")
        refused(ConfigurationError, front.address, "more than 1 MB", "registry.url")


@pytest.mark.parametrize("numbers", [b'[1, "x", null]', b"[true]", b"[1.5]", b"[[1]]"])
def test_versions_that_are_no_numbers_are_no_registrys(numbers: bytes) -> None:
    with Front(registry_url()) as front, opened(front.address) as registry:
        front.answer = lambda method, path: Reply(200, JSON, numbers)
        with pytest.raises(ConfigurationError, match="gives no numbers for the versions of the subject one"):
            registry.versions("one")


class Listening(Front):
    """Keeps what it was told to be accepted as an encoding."""

    encodings: tuple[str | None, ...] = ()

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.encodings += (headers.get("accept-encoding"),)
        return super().reply(method, path, headers, body)


def test_an_answer_is_not_asked_for_compressed() -> None:
    """A small answer could be made huge by decompressing it, before its size is looked at."""
    with Listening(registry_url()) as front, opened(front.address) as registry:
        registry.subjects()
        bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
        front.answer = lambda method, path: Reply(200, JSON, bomb, (("content-encoding", "gzip"),))
        with pytest.raises(ConfigurationError, match="asked not to"):
            registry.subjects()
        assert front.encodings == ("identity", "identity")


def test_words_of_a_server_are_shown_on_one_line_without_control_characters() -> None:
    with Front(registry_url()) as front:
        said = b'{"message": "a\\u001b[31mred\\nline s3cret-of-the-test"}'
        front.answer = lambda method, path: Reply(500, JSON, said)
        error = refused(ServiceUnavailable, front.address, "a[31mred line ***", username="u", password=SECRET)
        assert "\x1b" not in error.message


# --- what the registry refuses ---


def test_the_registry_refuses_what_breaks_by_its_own_rule() -> None:
    with opened(registry_url()) as registry:
        subject = f"{uuid4()}-value"
        registry.set_mode(subject, Mode.BACKWARD)
        registry.register(subject, OLD)
        with pytest.raises(InputRejected, match=r"refuses the schema: HTTP 409.*properties/a") as raised:
            registry.register(subject, OTHER)
        assert raised.value.code == "registry_incompatible"
        assert len(registry.versions(subject)) == 1


def test_a_schema_without_its_draft_is_refused_by_apicurio() -> None:
    with opened(registry_url()) as registry, pytest.raises(InputRejected, match="HTTP 422") as raised:
        registry.register(f"{uuid4()}-value", '{"type": "object"}')
    assert raised.value.code == "schema_refused"


def test_no_mode_is_told_where_the_registrys_own_would_hold_instead() -> None:
    with Front(registry_url()) as front, opened(front.address) as registry:
        subject = f"{uuid4()}-value"
        registry.register(subject, OLD)

        def global_full(method: str, path: str) -> Reply | None:
            own = method == "GET" and path.startswith("/apis/ccompat/v7/config/")
            return Reply(200, JSON, b'{"compatibilityLevel": "FULL"}') if own else None

        front.answer = global_full
        with pytest.raises(ConfigurationError, match="FULL for all subjects"):
            registry.set_mode(subject, Mode.NONE)


def test_registering_asks_for_no_more_than_it_must() -> None:
    with Front(registry_url()) as front, opened(front.address) as registry:
        subject = f"{uuid4()}-value"
        registry.register(subject, OLD)
        front.asked.clear()
        assert registry.latest(subject) is not None
        assert len(front.asked) == 1
        front.asked.clear()
        registry.register(subject, NEW)
        assert [method for method, _ in front.asked] == ["GET", "GET", "POST", "POST"]
