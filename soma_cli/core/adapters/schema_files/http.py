"""Schemas that others refer to by an address; asked for only where that is allowed."""

from __future__ import annotations

import httpx

from soma_cli.core.adapters.bounded_http import UNCOMPRESSED, Answer, Slow, Unwelcome, answer_of
from soma_cli.core.errors import InputRejected, NotFound, ServiceUnavailable
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES


def fetch(address: str, timeout_s: float) -> bytes:
    """What the address answers. Raises NotFound, ServiceUnavailable, InputRejected."""
    try:
        with httpx.Client(follow_redirects=True, headers=UNCOMPRESSED) as client:
            answer = answer_of(client, "GET", address, None, timeout_s, MAX_SCHEMA_BYTES)
    except Unwelcome as error:
        raise InputRejected(
            f"{address} answers {error}", hint="check that it is the schema, not data", code="too_large"
        ) from error
    except httpx.InvalidURL as error:
        raise InputRejected(f"{address} is no address: {error}", hint="mend the $ref", code="remote_ref") from error
    except httpx.TooManyRedirects as error:
        raise InputRejected(f"{address} redirects in a circle", hint="mend the $ref", code="remote_ref") from error
    except (Slow, httpx.HTTPError) as error:
        raise ServiceUnavailable(
            f"{address} cannot be fetched: {str(error) or type(error).__name__}",
            hint="try again, or save it beside the schema and refer to the file",
        ) from error
    _check(answer, address)
    return answer.content


def _check(answer: Answer, address: str) -> None:
    if answer.status in (404, 410):
        raise NotFound(f"there is nothing at {address}", hint="mend the $ref", code="no_such_file")
    if answer.status >= 500 or answer.status == 429:
        raise ServiceUnavailable(f"{address} answers {answer.status}", hint="try again later")
    if answer.status != 200:
        raise InputRejected(
            f"{address} answers {answer.status}, not a schema",
            hint="save it beside the schema and refer to the file",
            code="remote_ref",
        )
