"""What goes wrong between the client and a Qdrant server, in soma's words: the one place that translates it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError

MISSING = "index_missing"
"""Code of the ConfigurationError for a collection or alias that is not there."""
REPLACED = "index_replaced"
"""Code of the ServiceUnavailable for a collection that a rebuild has replaced meanwhile."""
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


@contextmanager
def server_errors(where: str) -> Iterator[None]:
    """Raises ServiceUnavailable where another try may help, ConfigurationError where a setting is wrong, SomaError for
    a request that the server does not take. `where` is the server's address, without key."""
    try:
        yield
    except SomaError:
        raise
    except (ApiException, QdrantException, httpx.HTTPError, ValueError) as error:
        raise _translated(where, error) from error


def missing(what: str, where: str) -> ConfigurationError:
    return ConfigurationError(
        f"the search index has no collection {what} at {where}",
        hint="run `soma init`, or set index.collection to the one that is there",
        code=MISSING,
    )


def replaced(collection: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"a rebuild has replaced the collection {collection} of the search index meanwhile",
        hint="the same again goes to the new one",
        code=REPLACED,
    )


def _translated(where: str, error: Exception) -> SomaError:
    if isinstance(error, UnexpectedResponse):
        return _answered(where, error)
    if isinstance(error, ResponseHandlingException):
        return _translated(where, error.source) if isinstance(error.source, httpx.HTTPError) else _not_qdrant(where)
    if isinstance(error, json.JSONDecodeError):
        return _not_qdrant(where)
    if isinstance(error, QdrantException):
        return _unavailable(where, f"refuses for now: {error}")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return ConfigurationError(f"index.url does not lead to a server: {error}", hint="write http://host:6333")
    if isinstance(error, httpx.TimeoutException):
        return _unavailable(where, f"did not answer in time ({type(error).__name__})")
    if isinstance(error, httpx.HTTPError):
        return _certificate(where, error) or _unavailable(where, f"can't be reached: {error or type(error).__name__}")
    if "not found" in str(error):  # So the client's in-memory engine says it.
        return missing(str(error).split()[1], where)
    return SomaError(f"the search index at {where} can't do this: {error}", code="index_request")


def _answered(where: str, error: UnexpectedResponse) -> SomaError:
    status, said = error.status_code or 0, _reason(error.content)
    if status in (401, 403):
        return ConfigurationError(
            f"Qdrant at {where} refuses access ({status}{': ' + said if said else ''})",
            hint="set index.api_key to a key that may read and write the collection",
            code="index_access",
        )
    if status == 507 or "No space left" in (said or ""):
        return OutOfSpace(f"Qdrant at {where} has no space left: {said}", hint="make room there and try again")
    if status in _WORTH_ANOTHER_TRY:
        return _unavailable(where, f"answered {status}: {said or error.reason_phrase}")
    if status == 413:
        return ConfigurationError(
            f"a request was too large for what answers at {where}",
            hint="let the proxy before Qdrant pass requests of 32 MB, as Qdrant itself does",
        )
    if said is None:
        return _not_qdrant(where, status)
    if status == 404 and "ollection" in said:
        return missing(said.partition("`")[2].partition("`")[0] or said, where)
    return SomaError(f"Qdrant at {where} does not take this request ({status}): {said}", code="index_request")


def _reason(content: bytes) -> str | None:
    """What Qdrant says of an error; None where it is not Qdrant that says something."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return None


def _unavailable(where: str, what: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"Qdrant at {where} {what}", hint="see that it runs and that index.url and index.timeout_s are right"
    )


def _not_qdrant(where: str, status: int = 200) -> ConfigurationError:
    return ConfigurationError(
        f"what answers at {where} is not Qdrant (status {status}, not its JSON)",
        hint="set index.url to Qdrant's REST port, usually 6333, or the proxy's path to it",
        code="index_not_qdrant",
    )


def _certificate(where: str, error: httpx.HTTPError) -> ConfigurationError | None:
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return None
    return ConfigurationError(
        f"the certificate of {where} is not trusted: {error}", hint="set SSL_CERT_FILE to the authority's certificate"
    )
