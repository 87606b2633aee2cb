"""The connection to a Qdrant server, made at first use."""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from qdrant_client import QdrantClient
from qdrant_client.models import UpdateResult, UpdateStatus

from soma_cli.core.adapters.vector_index.qdrant_errors import server_errors
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.settings import IndexSettings

OLDEST = (1, 18)
"""The first version that adds a named vector to a collection; older ones also pass over conditions of an upsert."""
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class QdrantServer:
    """One client for all threads. `where` is the server's address, without credentials; `version` what it says it is.

    The client takes whole seconds, so that a timeout is rounded up to the next one.
    """

    def __init__(self, settings: IndexSettings, client: QdrantClient | None = None) -> None:
        self._settings = settings
        self._given = client
        self._client: QdrantClient | None = None
        self._guard = threading.Lock()
        self.where = ":memory:" if client is not None and settings.url is None else _address(settings.url)
        self.timeout_s = settings.timeout_s
        self.version = ""
        self.has_dense: set[str] = set()
        """Collections that are known to have a dense vector; none ever loses it."""

    @contextmanager
    def client(self) -> Iterator[QdrantClient]:
        """Raises what `server_errors` raises, ConfigurationError also for a server that is too old."""
        with server_errors(self.where):
            yield self._connected()

    @property
    def key_is_open(self) -> bool:
        """Whether the API key crosses a network unencrypted."""
        parts = urlsplit(self._settings.url or "")
        return bool(self._settings.api_key) and parts.scheme == "http" and parts.hostname not in LOOPBACK

    def close(self) -> None:
        """The next use connects again. A client that was given stays open."""
        with self._guard:
            client, self._client = self._client, None
        if client is not None and client is not self._given:
            client.close()

    def _connected(self) -> QdrantClient:
        with self._guard:
            if self._client is None:
                client = self._given or self._new_client()
                self.version = client.info().version
                self._check_version()
                self._client = client
            return self._client

    def _new_client(self) -> QdrantClient:
        url = self._settings.url
        if url is None:
            raise ConfigurationError("index.url is not set", hint="set it to Qdrant's address, as http://host:6333")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # A key that is not encrypted is told by `health`.
                return QdrantClient(
                    url=url,
                    api_key=self._settings.api_key,
                    timeout=math.ceil(self.timeout_s),
                    check_compatibility=False,
                )
        except ValueError as error:
            raise ConfigurationError(f"index.url is no address: {error}", hint="write http://host:6333") from error

    def _check_version(self) -> None:
        found = re.match(r"v?(\d+)\.(\d+)", self.version)
        if found is None or (int(found[1]), int(found[2])) < OLDEST:
            raise ConfigurationError(
                f"Qdrant at {self.where} has version {self.version or 'unknown'}; soma needs 1.18 or newer",
                hint="upgrade the server, one minor version at a time",
                code="index_too_old",
            )


def check_applied(results: Sequence[UpdateResult]) -> None:
    """A server that is pressed for time answers before it has applied a write, in spite of `wait`."""
    if any(result.status != UpdateStatus.COMPLETED for result in results):
        raise ServiceUnavailable("Qdrant took a write but has not applied it in time", hint="it is sent again")


def _address(url: str | None) -> str:
    """Without user, password and query."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return "an address that is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if url else "an address that is not set"
