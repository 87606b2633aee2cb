"""A narrow line to a server: what clients send through it takes its time, what the server answers does not."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

_CHUNK = 16_384


class NarrowLine:
    """Listens on `port`, and passes bytes on to the server that listens on `to`, when it is set.

    All clients together send `bytes_per_s`, without bound while that is None.
    """

    def __init__(self) -> None:
        self.to = 0
        self.bytes_per_s: float | None = None
        self._free_at = 0.0
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        """Until the listener is shut down."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._ends.append(client)
            with suppress(OSError):  # the server may be gone: then so is the client
                self._join(client, socket.create_connection(("127.0.0.1", self.to)))
                continue
            client.close()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        self._ends.append(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        for source, sink, slow in ((client, server, True), (server, client, False)):
            threading.Thread(target=self._pass_on, args=(source, sink, slow), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if slow:
                    time.sleep(self._wait_s(len(data)))
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _wait_s(self, size: int) -> float:
        if self.bytes_per_s is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.bytes_per_s
            return self._free_at - now
