"""How a schema registry is reached: its address, who soma is to it, and whom soma trusts."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from soma_cli.core.errors import ConfigurationError
from soma_cli.core.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

Authorization = Callable[["httpx.Request"], "httpx.Request"] | tuple[str, str] | None


def checked(settings: RegistrySettings) -> str:
    """The address to which paths are added. Raises ConfigurationError for settings that cannot be meant."""
    try:
        parts = urlsplit(settings.url or "")
        port_is_one = parts.port is None or parts.port > 0
    except ValueError as error:
        raise _wrong(f"registry.url is no address: {error}", "check registry.url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one:
        raise _wrong("registry.url is no address of a web server", "write for example http://localhost:8081")
    if settings.token and settings.username:
        raise _wrong("registry.token and registry.username are both set", "keep the one that the registry asks for")
    if settings.token and not re.fullmatch(r"[\x21-\x7e]+", settings.token):
        raise _wrong(
            "registry.token holds a blank, a line break or a letter outside ASCII",
            "set it to the token alone; a line break often comes from the file that it was read from",
        )
    if settings.key_file and not settings.cert_file:
        raise _wrong("registry.key_file is set without registry.cert_file", "set both, or neither")
    return parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()


def authorization(settings: RegistrySettings) -> Authorization:
    """What goes with each request; None where the address itself has it, or nothing is asked for."""
    if settings.username:
        return settings.username, settings.password or ""
    if not settings.token:
        return None

    def bearer(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {settings.token}"
        return request

    return bearer


def tls_context(settings: RegistrySettings) -> ssl.SSLContext:
    """Raises ConfigurationError for files that are not there or are not what they should be."""
    ca, certificate, key = settings.ca_file, settings.cert_file, settings.key_file
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise _wrong(f"registry.ca_file {ca} cannot be used: {_why(error)}", "name a PEM file that is there") from error
    if certificate is None:
        return context
    try:
        # A key that asks for a password would ask on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        files = f"registry.cert_file {certificate}" + (f" with registry.key_file {key}" if key else "")
        hint = "name PEM files of a certificate and of its key, without a password"
        raise _wrong(f"{files} cannot be used: {_why(error)}", hint) from error
    return context


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(message, hint=hint, code="registry_misconfigured")
