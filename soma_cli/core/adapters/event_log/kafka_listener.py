"""Whether a broker's listener speaks TLS: asked where no client comes through, as the client library only says that the
connection was closed, which a broker that restarts does too."""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress

from soma_cli.core.errors import ConfigurationError
from soma_cli.core.settings import LogSettings

_AT_MOST_S = 2.0
_ADDRESS = re.compile(r"(?:\w+://)?\[?([^\],]+?)\]?:(\d+)")
_VERSIONS_PLEASE = bytes.fromhex("0000000e" + "0012" + "0000" + "0000002a" + "0004") + b"soma"
"""An ApiVersions request, version 0, with the correlation id 42: answered before any login."""
_FOR_US = bytes.fromhex("0000002a")


def mismatch(settings: LogSettings) -> ConfigurationError | None:
    """An error where the first broker that answers speaks TLS and `log.security.protocol` does not, or the other way.
    Takes `_AT_MOST_S` for each address at most."""
    protocol, encrypted = settings.security.protocol, settings.security.protocol.endswith("SSL")
    other = _speaks_plainly if encrypted else _speaks_tls
    for host, port in _ADDRESS.findall(settings.bootstrap_servers or ""):
        with suppress(OSError):
            if other(host, int(port)):
                speaks, right = ("without TLS", "PLAINTEXT") if encrypted else ("TLS", "SSL")
                return ConfigurationError(
                    f"the broker at {host}:{port} speaks {speaks}, but log.security.protocol is {protocol}",
                    hint=f"set log.security.protocol to {right} or SASL_{right}, or name another listener in "
                    "log.bootstrap_servers",
                    code="log_security",
                )
    return None


def _speaks_tls(host: str, port: int) -> bool:
    """Only a handshake is tried, so whom the certificate is from does not matter."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), _AT_MOST_S) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host):
                return True
        except ssl.SSLError as error:
            return "alert" in str(error).lower()  # it speaks TLS, and wants a certificate or another version


def _speaks_plainly(host: str, port: int) -> bool:
    with socket.create_connection((host, port), _AT_MOST_S) as connection:
        connection.sendall(_VERSIONS_PLEASE)
        return connection.recv(8)[4:8] == _FOR_US
