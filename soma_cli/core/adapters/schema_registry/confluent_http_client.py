"""Requests to a schema registry, bounded in time and in size. httpx is imported at the first of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from soma_cli.core.adapters.bounded_http import UNCOMPRESSED, Answer, Slow, Unwelcome, answer_of
from soma_cli.core.adapters.http_address import is_loopback
from soma_cli.core.adapters.schema_registry.confluent_http_access import authorization, tls_context
from soma_cli.core.adapters.schema_registry.confluent_http_errors import Server
from soma_cli.core.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"

T = TypeVar("T")


class RegistryClient:
    """JSON to and from one registry. Safe between threads.

    Requests raise ServiceUnavailable, ConfigurationError, InputRejected, and Absent where the registry says that it has
    no such subject or version.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.server = Server(settings)
        self._settings = settings
        self._client: httpx.Client | None = None
        self._opening = threading.Lock()

    def get(self, path: str) -> Any:
        return self._request("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._request("POST", path, orjson.dumps(body))

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._request("PUT", path, orjson.dumps(body))

    def expect(self, kind: type[T], answer: object) -> T:
        """The answer, of that kind. Raises ConfigurationError where it is another: then it is no registry's."""
        if not isinstance(answer, kind):
            raise self.server.misconfigured("does not answer as a schema registry does")
        return answer

    def close(self) -> None:
        """Close the connections. The next request opens them again."""
        with self._opening:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        import httpx

        client = self._open()
        try:
            return self.server.accepted(self._answer(client, method, path, body))
        except httpx.InvalidURL as error:
            raise self.server.misconfigured(f"cannot be asked: {error}") from error
        except httpx.RequestError as error:
            raise self.server.failed(error) from error

    def _answer(self, client: httpx.Client, method: str, path: str, body: bytes | None) -> Answer:
        try:
            return answer_of(client, method, self.server.endpoint + path, body, self._settings.timeout_s)
        except Unwelcome as error:
            raise self.server.misconfigured(f"answers {error}") from error
        except Slow as error:
            raise self.server.unavailable(str(error)) from error

    def _open(self) -> httpx.Client:
        import httpx

        with self._opening:
            if self._client is None:
                verify = tls_context(self._settings) if self.server.endpoint.startswith("https:") else True
                try:
                    self._client = httpx.Client(
                        headers={
                            "Content-Type": MEDIA_TYPE,
                            "Accept": f"{MEDIA_TYPE}, application/json",
                            **UNCOMPRESSED,
                        },
                        auth=authorization(self._settings),
                        verify=verify,
                        timeout=self._settings.timeout_s,
                        trust_env=not is_loopback(self.server.endpoint),  # a proxy cannot reach this machine's loopback
                    )
                except (ImportError, ValueError) as error:  # httpx's words for a proxy that it cannot use
                    raise self.server.misconfigured(
                        f"cannot be asked: {error}", "check the proxy variables of the environment, or set NO_PROXY"
                    ) from error
            return self._client
