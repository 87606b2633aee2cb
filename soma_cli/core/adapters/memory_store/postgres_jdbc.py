"""The address of the store as programs in Java write it."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from soma_cli.core.errors import ConfigurationError

_KEPT = {
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "options": "options",
}
_OURS = {"reWriteBatchedInserts": "true", "tcpKeepAlive": "true", "ApplicationName": "soma-landing"}


def jdbc_target(dsn: str, setting: str) -> dict[str, str]:
    """`jdbc_url`, `user` and `password` of a connection string. Raises ConfigurationError, which quotes nothing."""
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        given = {}
    hosts, database = str(given.get("host") or "").split(","), given.get("dbname")
    if not database or not all(hosts) or any(host.startswith(("/", "@")) for host in hosts):
        raise ConfigurationError(
            f"`{setting}` names no host and database that Kafka Connect could reach over the network",
            hint="set `connect.store_dsn` to postgresql://user:password@host:5432/database, as Connect sees it",
            code="store_dsn",
        )
    ports = [port or "5432" for port in str(given.get("port") or "").split(",")]
    places = [f"{_bracketed(host)}:{ports[min(n, len(ports) - 1)]}" for n, host in enumerate(hosts)]
    options = _OURS | {java: str(given[name]) for name, java in _KEPT.items() if given.get(name)}
    return {
        "jdbc_url": f"jdbc:postgresql://{','.join(places)}/{quote(str(database), safe='')}?{urlencode(options)}",
        "user": str(given.get("user") or ""),
        "password": str(given.get("password") or ""),
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
