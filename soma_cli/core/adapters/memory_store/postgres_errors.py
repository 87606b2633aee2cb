"""What PostgreSQL and its client say, in soma's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.results import RUN_INIT

_REFUSED_AT_THE_DOOR = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed|"
    r"(role|database|user) \".*\" does not exist|permission denied for database|not permitted to log in|"
    r"certificate|does not support SSL|SSL is not enabled|requires SSL|root\.crt"
)
_NOT_REACHED = re.compile(r"^(Connection refused|connection timeout expired|failed to resolve host|No route to host)")
_AROUND_THE_REASON = re.compile(
    r'^connection failed: |connection to server at "[^"]*"(?: \([^)]*\))?, port \d+ failed: |'
    r" Is the server running on that host and accepting TCP/IP connections\?"
)
"""What the client says besides, which `where` tells already."""
_TRANSIENT = ("08", "25", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connection, transaction state (a server that is read-only or idled out), rollback (deadlock),
resources, lock timeout, shutdown, input and output."""
_NOT_OURS = ("42P01", "3F000", "42703")
_AT_THE_DOOR = ("3D000", "28000", "28P01")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """`where` names server and database, without a password."""
    try:
        yield
    except psycopg.Error as error:
        raise in_our_words(where, error) from error


def in_our_words(where: str, error: psycopg.Error) -> SomaError:
    state, said = error.sqlstate or "", _said(error)
    if state.startswith(("22", "54")) or isinstance(error, psycopg.DataError):
        return ValueRefused(f"PostgreSQL at {where} cannot hold a value of this batch: {said}", code="value_refused")
    if state == "53100":
        return OutOfSpace(
            f"PostgreSQL at {where} has no space left: {said}",
            hint="free some space on the server and try again; nothing was changed",
        )
    if state in _NOT_OURS:
        return not_initialised(where)
    if state == "42501":
        return ConfigurationError(
            f"PostgreSQL at {where} refuses the user of `store.dsn` a right: {said}",
            hint="grant it, or name another user in `store.dsn`",
            code="store_forbidden",
        )
    if state == "2BP01":
        return ConfigurationError(
            f"something in PostgreSQL at {where} hangs on the tables of soma: {said}",
            hint="drop the views on them, and make them again afterwards",
            code="store_in_use",
        )
    if state in _AT_THE_DOOR or (not state and _REFUSED_AT_THE_DOOR.search(said)):
        return ConfigurationError(
            f"PostgreSQL at {where} lets nobody in with `store.dsn`: {said}",
            hint="check user, password and database in `store.dsn`",
            code="store_login",
        )
    if state.startswith(_TRANSIENT) or (
        not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    ):
        return _unavailable(where, state, said)
    return SomaError(f"PostgreSQL at {where}: {said}", details={"sqlstate": state})


def _unavailable(where: str, state: str, said: str) -> ServiceUnavailable:
    if state in ("55P03", "40P01", "40001"):
        return ServiceUnavailable(
            f"PostgreSQL at {where} was held by other writers for too long: {said}", hint="try again", code="busy"
        )
    if state == "57014":
        return ServiceUnavailable(
            f"PostgreSQL at {where} took too long: {said}", hint="try again, or raise `store.timeout_s`", code="slow"
        )
    if state == "25006":
        return ServiceUnavailable(
            f"PostgreSQL at {where} takes no writes: {said}",
            hint="it is a replica, or a failover goes on: try again, or name the primary in `store.dsn`",
            code="read_only",
        )
    how = "cannot be reached" if _NOT_REACHED.search(said) else "does not answer as it should"
    return ServiceUnavailable(
        f"PostgreSQL at {where} {how}: {said}",
        hint="check that the server runs, and its address in `store.dsn`, then try again",
    )


def not_initialised(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"the tables of soma in PostgreSQL at {where} are not there, or older than this soma",
        hint=RUN_INIT,
        code="not_initialised",
    )


def _said(error: psycopg.Error) -> str:
    """The server's first line, or the client's, as one line."""
    said = error.diag.message_primary or str(error).strip() or type(error).__name__
    return _AROUND_THE_REASON.sub("", " ".join(said.split())[:600])[:300]
