"""A reverse proxy on loopback in front of a real HTTP server: with TLS, with passwords, or with something wrong.

It passes requests on as they are. What a test gives it in `answer` is said in place of the server's answer.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from tests.services.ports import free_port, give_back
from tests.services.required import program
from tests.services.web import WebServer


class Reply(NamedTuple):
    status: int
    content_type: str
    content: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Front:
    """`users` may come in with their passwords, and `tokens` by themselves; anybody where both are empty. `asked`
    lists the requests, method and path."""

    def __init__(
        self,
        server: str,
        *,
        users: dict[str, str] | None = None,
        tokens: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = urlsplit(server)
        self._welcome = {_basic(user, password) for user, password in (users or {}).items()}
        self._welcome |= {f"Bearer {token}" for token in tokens}
        self._scheme = "http" if tls is None else "https"
        self.answer: Callable[[str, str], Reply | None] = lambda method, path: None
        self.asked: list[tuple[str, str]] = []
        self.port = free_port()
        self._http = WebServer(("127.0.0.1", self.port), self._handler())
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{self._server.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        give_back(self.port)

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.asked.append((method, path))
        said = self.answer(method, path)
        if said is not None:
            return said
        if self._welcome and headers.get("authorization") not in self._welcome:
            return Reply(401, "application/json", b'{"error_code":40101,"message":"who are you?"}')
        return self._passed_on(method, path, headers, body)

    def _passed_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        connection = http.client.HTTPConnection(self._server.hostname or "", self._server.port, timeout=60)
        left_out = ("host", "authorization", "connection", "accept-encoding")
        try:
            passed = {name: value for name, value in headers.items() if name not in left_out}
            connection.request(method, path, body, passed)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheader("content-type", ""), answer.read())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = front.reply(self.command, self.path, headers, body)
                self.send_response(reply.status)
                if reply.content_type:
                    self.send_header("content-type", reply.content_type)
                self.send_header("content-length", str(len(reply.content)))
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST = do_PUT = do_DELETE = _respond

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Certificates:
    """An authority of a test's own, a server's certificate for 127.0.0.1 and a client's, all PEM files in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = folder / "ca.pem"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 asks for it
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", *usage)
        self.server, self.server_key = self._signed("server", "subjectAltName=IP:127.0.0.1")
        self.client, self.client_key = self._signed("client", "extendedKeyUsage=clientAuth")

    def serving(self, *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        if ask_client:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _signed(self, name: str, extension: str) -> tuple[Path, Path]:
        (self._folder / f"{name}.ext").write_text(extension)
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([program("openssl"), *arguments], cwd=self._folder, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
