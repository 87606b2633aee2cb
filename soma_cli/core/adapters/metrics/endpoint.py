"""A small HTTP server for a few pages, on a daemon thread, so that it never keeps a worker from ending."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket

from soma_cli.core.adapters.metrics.pages import Page
from soma_cli.core.errors import ConfigurationError

logger = logging.getLogger("soma")

_CLIENT_TIMEOUT_S = 5.0
_CLOSE_S = 0.05


class Endpoint:
    """Listens as soon as it is made. Raises ConfigurationError where it cannot."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        try:
            self._server = _Server(host, port, pages)
        except (OSError, OverflowError, UnicodeError) as error:
            raise _cannot_listen(host, port, error) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_CLOSE_S,), name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = str(self._server.server_address[0])
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or str(error)
    return ConfigurationError(
        f"metrics cannot be served at {host}:{port}: {reason}",
        hint="name a free port with --metrics-port (0 takes any), or an address of this machine in worker.metrics_host",
        code="metrics_port",
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        if ":" in host:
            self.address_family = AF_INET6
        self.pages = pages
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without looking up the host's name, which can take seconds where no name server answers."""
        self.socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)  # a restart need not wait for old connections to fade
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A client that went away is no news; it must not be printed beside the worker's lines."""
        logger.debug("a request to the metrics port failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def version_string(self) -> str:
        return "soma"

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: every scrape would be a line."""

    def _send(self, *, with_body: bool) -> None:
        page = self._page(self.path.partition("?")[0])
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def _page(self, path: str) -> Page:
        make = self.server.pages.get(path)
        if make is None:
            known = ", ".join(self.server.pages)
            return Page(404, "text/plain; charset=utf-8", f"there is {known}\n".encode())
        try:
            return make()
        except Exception:
            logger.exception("the page %s of the metrics port failed", path)
            return Page(500, "text/plain; charset=utf-8", b"failed; see the log\n")
