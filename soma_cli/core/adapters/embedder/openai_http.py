"""Vectors from a service that speaks OpenAI's embeddings protocol (OpenAI, vLLM, TEI, llama.cpp, Ollama ...).

A request is tried a few times within `timeout_s`; who needs more patience than that has a loop of its own. A batch that
the service refuses is halved until the texts to blame are found, so that one bad text costs no other its vector.
httpx and stamina are imported at the first use: making an embedder costs nothing.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from soma_cli.core.adapters.http_address import is_loopback, without_secrets
from soma_cli.core.embedding import FLOAT32_MAX
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.settings import EmbedderSettings

if TYPE_CHECKING:
    import httpx
    from stamina.typing import RetryHook

ATTEMPTS = 3
RETRY_AFTER_MAX_S = 5.0
"""The longest wait that a service can ask for: the caller has to notice a shutdown in time."""

PROBE = "memory"


class _Transient(Exception):
    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class _Refused(Exception):
    """The service will not embed at least one of the texts sent."""


class _Unusable(_Refused):
    """The service answered, with something that is no vector for at least one of the texts sent."""


class _Answer(NamedTuple):
    status: int
    retry_after: str | None
    content: bytes


class OpenAIHttpEmbedder:
    """The port Embedder over HTTP: POST {url}/embeddings, at most `batch_size` texts a request. Safe between threads.

    Raises ConfigurationError where `url` or `model` is missing or `api_key` cannot be sent in a header.
    """

    def __init__(self, settings: EmbedderSettings) -> None:
        self._settings = settings
        self._model, self._endpoint = _checked(settings)
        self._shown_url = without_secrets(settings.url or "")
        self._client: httpx.Client | None = None
        self._opening = threading.Lock()

    @property
    def model_revision(self) -> str:
        """The model's name: the protocol knows no revisions."""
        return self._model

    def embed(self, texts: Sequence[str], answered: Callable[[], None] = lambda: None) -> list[list[float]]:
        """One vector a text, in the order of the texts: finite floats, all of one dimension, `dimension` where set.

        Raises ValueRefused if any text is refused, after all were tried: `details["refused"]` lists every such text as
        {"index", "message"}, index counting from 0 in `texts`, and `details["index"]` is the first. Embed the others
        again without them. Raises ServiceUnavailable (code embedder_unavailable) and ConfigurationError.
        """
        vectors: list[list[float]] = []
        refused: list[dict[str, Any]] = []
        for start in range(0, len(texts), self._settings.batch_size):
            vectors += self._embed_run(texts[start : start + self._settings.batch_size], start, refused, answered)
        if refused:
            raise self._texts_refused(refused)
        return self._of_one_dimension(vectors)

    def close(self) -> None:
        """Close the connections. The embedder is not used again."""
        with self._opening:
            if self._client is not None:
                self._client.close()

    def _embed_run(
        self, texts: Sequence[str], start: int, refused: list[dict[str, Any]], answered: Callable[[], None]
    ) -> list[list[float]]:
        try:
            vectors = self._request(texts)
            answered()
            return vectors
        except _Refused as refusal:
            answered()
            if len(texts) == 1:
                if not refused:
                    self._probe(refusal)
                refused.append({"index": start, "message": str(refusal)})
                return []
        half = len(texts) // 2
        first = self._embed_run(texts[:half], start, refused, answered)
        return first + self._embed_run(texts[half:], start + half, refused, answered)

    def _probe(self, refusal: _Refused) -> None:
        """Make sure that it is the text that is refused. A service that refuses any text is no fault of the text's."""
        try:
            self._request([PROBE])
        except _Unusable as error:
            raise self._unavailable(str(error)) from error
        except _Refused as error:
            raise self._misconfigured(
                f"refuses every text: {error}",
                "check embedder.model, and leave embedder.dimension out if the model's vectors have a fixed length",
            ) from refusal

    def _request(self, texts: Sequence[str]) -> list[list[float]]:
        body: dict[str, Any] = {"model": self._model, "input": list(texts)}
        if self._settings.dimension is not None:
            body["dimensions"] = self._settings.dimension
        try:
            encoded = orjson.dumps(body)
        except TypeError as error:
            raise _Refused("the text is not valid Unicode") from error
        return self._vectors(self._send_patiently(encoded), len(texts))

    def _send_patiently(self, body: bytes) -> bytes:
        import stamina

        _keep_retries_quiet()
        timeout_s = self._settings.timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            for attempt in stamina.retry_context(
                _backoff_until(deadline), attempts=ATTEMPTS, timeout=timeout_s, wait_max=2.0, wait_jitter=0.4
            ):
                with attempt:
                    return self._accepted(self._send(body, deadline))
        except _Transient as error:
            raise self._unavailable(str(error)) from error
        raise AssertionError("stamina returned without an attempt")

    def _send(self, body: bytes, deadline: float) -> _Answer:
        import httpx

        client = self._open()
        content = bytearray()
        left_s = max(0.05, deadline - time.monotonic())
        try:
            with client.stream("POST", self._endpoint, content=body, timeout=left_s) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if time.monotonic() > deadline:
                        raise _Transient(f"no whole answer within {self._settings.timeout_s:g} s")
            return _Answer(response.status_code, response.headers.get("retry-after"), bytes(content))
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise self._misconfigured(f"cannot be asked: {self._clean(str(error))}", "check embedder.url") from error
        except httpx.TimeoutException as error:
            raise _Transient(f"no answer within {self._settings.timeout_s:g} s") from error
        except httpx.RequestError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._misconfigured(
                    f"has a certificate that is not trusted: {self._clean(str(error))}",
                    "set SSL_CERT_FILE to the authority's certificate",
                ) from error
            raise _Transient(self._clean(str(error)) or type(error).__name__) from error

    def _open(self) -> httpx.Client:
        import httpx

        with self._opening:
            if self._client is None:
                try:
                    self._client = httpx.Client(
                        headers={"Content-Type": "application/json", "User-Agent": "soma"},
                        auth=self._authorization(),
                        trust_env=not is_loopback(self._endpoint),  # a proxy cannot reach this machine's loopback
                    )
                except (ImportError, ValueError) as error:  # httpx's words for a proxy that it cannot use
                    raise self._misconfigured(
                        f"cannot be asked: {error}", "check the proxy variables of the environment, or set NO_PROXY"
                    ) from error
            return self._client

    def _authorization(self) -> Callable[[httpx.Request], httpx.Request] | None:
        key = self._settings.api_key
        if not key:
            return None

        def bearer(request: httpx.Request) -> httpx.Request:
            request.headers["Authorization"] = f"Bearer {key}"
            return request

        return bearer

    def _accepted(self, answer: _Answer) -> bytes:
        status = answer.status
        if status == 200:
            return answer.content
        said = f"HTTP {status}{self._said(answer.content)}"
        if status in (408, 429) or status >= 500:
            raise _Transient(said, _seconds(answer.retry_after))
        if status in (400, 413, 422):
            raise _Refused(said)
        if status in (401, 403):
            raise self._misconfigured(
                f"refuses the key: {said}", "set embedder.api_key to a key that may use the model"
            )
        if status == 404:
            raise self._misconfigured(
                f"does not know the model or the path: {said}",
                "check embedder.model, and that embedder.url is the part before /embeddings, such as http://host/v1",
            )
        raise self._misconfigured(f"does not answer as an embedding service does: {said}", "check embedder.url")

    def _vectors(self, content: bytes, count: int) -> list[list[float]]:
        try:
            items = _loads(content)["data"]
            if len(items) != count:
                raise self._unavailable(f"{len(items)} vectors for {count} texts")
            by_index = {item.get("index", place): item["embedding"] for place, item in enumerate(items)}
            vectors = [by_index[index] for index in range(count)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unavailable("the answer is not that of an embedding service") from error
        return [self._usable(vector) for vector in vectors]

    def _usable(self, vector: Any) -> list[float]:
        if not isinstance(vector, list) or not vector:
            raise _Unusable("the service gave no vector for the text")
        if not all(type(x) in (float, int) and -FLOAT32_MAX <= x <= FLOAT32_MAX for x in vector):
            raise _Unusable("the service's vector for the text holds values that are no finite numbers")
        wanted = self._settings.dimension
        if wanted is not None and len(vector) != wanted:
            raise self._misconfigured(
                f"returns vectors of dimension {len(vector)}; embedder.dimension is {wanted}",
                f"set embedder.dimension to {len(vector)}, or name the model that the dimension belongs to",
                code="embedder_dimension",
            )
        return [float(x) for x in vector]

    def _of_one_dimension(self, vectors: list[list[float]]) -> list[list[float]]:
        dimensions = sorted({len(vector) for vector in vectors})
        if len(dimensions) > 1:
            raise self._unavailable(
                f"vectors of different dimensions ({', '.join(map(str, dimensions))}) in one answer"
            )
        return vectors

    def _said(self, content: bytes) -> str:
        """What the service says about an error, cut and cleaned for one line; "" where it says nothing."""
        try:
            body = _loads(content)
        except ValueError:
            body = content.decode(errors="replace")
        for field in ("error", "message", "detail"):
            if isinstance(body, dict):
                body = body.get(field, body)
        text = self._clean(body if isinstance(body, str) else json.dumps(body))
        return f": {text}" if text else ""

    def _clean(self, text: str) -> str:
        if self._settings.api_key:
            text = text.replace(self._settings.api_key, "***")
        text = " ".join(text.split())
        return "".join(letter for letter in text if letter.isprintable())[:200]

    def _texts_refused(self, refused: list[dict[str, Any]]) -> ValueRefused:
        first = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return ValueRefused(
            f"the embedding service {self._shown_url} refuses the text at index {first['index']}{more}: "
            f"{first['message']}",
            hint="shorten or change the text, or use a model that takes it",
            code="text_refused",
            details={"index": first["index"], "refused": refused, **self._whom()},
        )

    def _unavailable(self, what: str) -> SomaError:
        return ServiceUnavailable(
            f"the embedding service {self._shown_url} (model {self._model}) is not available: {what}",
            hint="check that it runs and answers at embedder.url, then try again",
            code="embedder_unavailable",
            details=self._whom(),
        )

    def _misconfigured(self, what: str, hint: str, code: str = "embedder_misconfigured") -> SomaError:
        message = f"the embedding service {self._shown_url} (model {self._model}) {what}"
        return ConfigurationError(message, hint=hint, code=code, details=self._whom())

    def _whom(self) -> dict[str, Any]:
        return {"url": self._shown_url, "model": self._model}


def _checked(settings: EmbedderSettings) -> tuple[str, str]:
    """Model and endpoint. A key that no header can hold is found here: the client's own message would show it."""
    if not settings.model or not settings.url:
        missing = "model" if not settings.model else "url"
        raise ConfigurationError(
            f"the openai_http embedder needs embedder.{missing}",
            hint=f"set embedder.{missing} (SOMA_EMBEDDER_{missing.upper()})",
        )
    if settings.api_key and not re.fullmatch(r"[\x21-\x7e]+", settings.api_key):
        raise ConfigurationError(
            "embedder.api_key holds a blank, a line break or a letter outside ASCII",
            hint="set it to the key alone; a line break often comes from the file that it was read from",
        )
    try:
        parts = urlsplit(settings.url)
    except ValueError as error:
        raise ConfigurationError(f"embedder.url is no address: {error}", hint="check embedder.url") from error
    return settings.model, parts._replace(path=parts.path.rstrip("/") + "/embeddings", fragment="").geturl()


def _loads(content: bytes) -> Any:
    """Raises ValueError. Reads NaN too, as some services write it, so that the text to blame can be found."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header (RFC 9110: seconds or a date) as seconds from now."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return (parsedate_to_datetime(retry_after).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return None


def _backoff_until(deadline: float) -> Callable[[Exception], bool | float]:
    def backoff(error: Exception) -> bool | float:
        """Whether to try again; a number is the wait in seconds that the service asked for, spread a little."""
        if not isinstance(error, _Transient):
            return False
        if error.retry_after_s is None:
            return True
        wait_s = min(max(error.retry_after_s, 0.05), RETRY_AFTER_MAX_S) + random.uniform(0, 0.1)  # noqa: S311
        return wait_s if time.monotonic() + wait_s < deadline else False

    return backoff


@cache
def _keep_retries_quiet() -> None:
    """stamina reports every retry, by default on stderr or, where structlog is installed, on stdout.

    Its hooks belong to the whole process, so they stay for everybody else's retries.
    """
    from stamina.instrumentation import get_on_retry_hooks, set_on_retry_hooks

    def quiet(hook: RetryHook) -> RetryHook:
        return lambda details: None if isinstance(details.caused_by, _Transient) else hook(details)

    set_on_retry_hooks([quiet(hook) for hook in get_on_retry_hooks()])
