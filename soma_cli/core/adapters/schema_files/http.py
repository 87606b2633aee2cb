"""Schemas that others refer to by an address; asked for only where that is allowed."""

from __future__ import annotations

import time

import httpx

from soma_cli.core.adapters.schema_files.folder import too_large
from soma_cli.core.errors import InputRejected, NotFound, ServiceUnavailable
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES

_PATIENCE = 6
"""Timeouts that a whole answer may take: each alone is of the next bytes only."""


def fetch(address: str, timeout_s: float) -> bytes:
    """What the address answers. Raises NotFound, ServiceUnavailable, InputRejected."""
    end_s = time.monotonic() + _PATIENCE * timeout_s
    try:
        with httpx.stream("GET", address, timeout=timeout_s, follow_redirects=True) as response:
            _check(response, address)
            data = bytearray()
            for part in response.iter_bytes():
                data += part
                if len(data) > MAX_SCHEMA_BYTES:
                    raise too_large(address)
                if time.monotonic() > end_s:
                    raise httpx.ReadTimeout(f"it was not all there after {_PATIENCE * timeout_s:g} s")
            return bytes(data)
    except httpx.InvalidURL as error:
        raise InputRejected(f"{address} is no address: {error}", hint="mend the $ref", code="remote_ref") from error
    except httpx.TooManyRedirects as error:
        raise InputRejected(f"{address} redirects in a circle", hint="mend the $ref", code="remote_ref") from error
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"{address} cannot be fetched: {error or type(error).__name__}",
            hint="try again, or save it beside the schema and refer to the file",
        ) from error


def _check(response: httpx.Response, address: str) -> None:
    if response.status_code in (404, 410):
        raise NotFound(f"there is nothing at {address}", hint="mend the $ref", code="no_such_file")
    if response.status_code >= 500 or response.status_code == 429:
        raise ServiceUnavailable(f"{address} answers {response.status_code}", hint="try again later")
    if response.status_code != 200:
        raise InputRejected(
            f"{address} answers {response.status_code}, not a schema",
            hint="save it beside the schema and refer to the file",
            code="remote_ref",
        )
