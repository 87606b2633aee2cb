"""Requests to a schema registry, bounded in time and in size. httpx is imported at the first of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from soma_cli.core.adapters.schema_registry.confluent_http_access import authorization, is_loopback, tls_context
from soma_cli.core.adapters.schema_registry.confluent_http_errors import Answer, Server
from soma_cli.core.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
LARGEST_ANSWER = 32 << 20
"""Bytes. More is no schema."""

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
        deadline = time.monotonic() + self._settings.timeout_s
        content = bytearray()
        with client.stream(method, self.server.endpoint + path, content=body) as response:
            if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
                raise self.server.misconfigured(f"answers in {encoding[:20]!r}, which it was asked not to")
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise self.server.misconfigured(
                        f"answers with more than {LARGEST_ANSWER >> 20} MB, which is no schema"
                    )
                if time.monotonic() > deadline:
                    raise self.server.unavailable(f"no whole answer within {self._settings.timeout_s:g} s")
            headers = response.headers
            return Answer(
                response.status_code, headers.get("content-type", ""), headers.get("location", ""), bytes(content)
            )

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
                            "Accept-Encoding": "identity",  # what is compressed is of no size that could be bounded
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
