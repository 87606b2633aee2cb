"""Connections to PostgreSQL: opened when first needed, shared by threads, replaced when they died."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.waiting import Wait

from soma_cli.core.adapters.memory_store.postgres_arrays import adapt
from soma_cli.core.adapters.memory_store.postgres_errors import translated
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable
from soma_cli.core.settings import StoreSettings

_T = TypeVar("_T")
_NO_NEWS = 0
_LOOK_EVERY_S = 0.1
_PLANS = "SET jit = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""A batch's keys are looked up one by one in an index, also where the planner knows nothing of a young table yet."""
_STATEMENTS = 6
"""How many times the timeout one statement may take: counting a large table takes longer than reaching the server."""


# What the client says of connections that it finds dead while tidying up is not for the terminal.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class _Silence(psycopg.OperationalError):
    """The server, or what lies between, has said nothing for too long."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server that stays silent, whatever lies between."""

    silence_s = 0.0
    """Seconds without a word from the server after which the call fails; 0 means any number."""
    _meanwhile: Callable[[], None] | None = None

    def sync(self, pipeline: psycopg.Pipeline, meanwhile: Callable[[], _T]) -> _T:
        """Sync the pipeline; what is to do meanwhile is done while the server is at its part. What it raises ends the
        call: the answer is left to whatever ends the pipeline."""
        done: list[_T] = []
        self._meanwhile = lambda: done.append(meanwhile())
        try:
            pipeline.sync()
        finally:
            self._meanwhile = None
        return done[0] if done else meanwhile()

    def wait(self, gen: Generator[Any, Any, _T], interval: float = _LOOK_EVERY_S, timeout: float | None = None) -> _T:
        try:
            return super().wait(self._sending(gen), interval, timeout)
        except _Silence:
            self.close()  # so that what tidies up behind the call does not wait as long again
            raise

    def _sending(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        """What psycopg waits for, and meanwhile the rest of what is to be sent: a pipeline's sync waits for the answer
        also where the socket did not take all of the question, and then neither side would ever say a word."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                unsent = self.pgconn.flush() and not wanted & Wait.W
                if self._meanwhile and not unsent and wanted == Wait.R:
                    work, self._meanwhile = self._meanwhile, None
                    work()
                ready = yield wanted | Wait.W if unsent else wanted
                now = time.monotonic()
                if ready != _NO_NEWS:
                    heard = now
                elif self.silence_s and now - heard > self.silence_s:
                    raise _Silence(f"no answer for {self.silence_s:.0f} s")
                if not (unsent and ready == Wait.W):
                    wanted = gen.send(ready & wanted)
        except StopIteration as end:
            value: _T = end.value
            return value


class Connections:
    """Up to `size` connections; one call at a time uses each. `where` names the server without a password."""

    def __init__(self, settings: StoreSettings, size: int) -> None:
        self._settings = settings
        self._parameters = _parameters(settings)
        self.where = _where(self._parameters)
        self._slots = threading.BoundedSemaphore(size)
        self._size = size
        self._guard = threading.Lock()
        self._idle: list[Session] = []

    @contextmanager
    def use(self) -> Iterator[Session]:
        """A connection outside a transaction; errors within are told in soma's words.

        After a failure for which a connection died, none of the idle ones is trusted.
        """
        if not self._slots.acquire(timeout=self._settings.timeout_s):
            raise ServiceUnavailable(
                f"all {self._size} connections to PostgreSQL at {self.where} are in use",
                hint="raise `store.pool_size`, or use fewer threads",
                code="pool_exhausted",
            )
        try:
            with translated(self.where):
                session = self._take()
                try:
                    yield session
                finally:
                    self._put_back(session)
        finally:
            self._slots.release()

    def _take(self) -> Session:
        with self._guard:
            if self._idle:
                return self._idle.pop()
        return self.open(statement_s=_STATEMENTS * self._settings.timeout_s)

    def _put_back(self, session: Session) -> None:
        if session.closed or session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            _close(session)
            self.close()
            return
        with self._guard:
            self._idle.append(session)

    def open(self, *, statement_s: float = 0.0, idle_s: float = 0.0) -> Session:
        """A connection of the caller's own. `statement_s` bounds a statement (0 = not), `idle_s` a pause within a
        transaction: a process that stopped there would hold up all others."""
        timeout_s = self._settings.timeout_s
        session = Session.connect(**self._parameters, autocommit=True)
        session.silence_s = statement_s and statement_s + timeout_s
        adapt(session)
        limits = {
            "lock_timeout": timeout_s,
            "statement_timeout": statement_s,
            "idle_in_transaction_session_timeout": idle_s or max(timeout_s, 5.0),
        }
        settings = "; ".join(f"SET {name} = {int(limit_s * 1000)}" for name, limit_s in limits.items())
        try:
            session.execute(f"{settings}; {_PLANS}")
        except BaseException:
            _close(session)
            raise
        return session

    def close(self) -> None:
        with self._guard:
            idle, self._idle = self._idle, []
        for session in idle:
            _close(session)


def _close(session: Session) -> None:
    with suppress(psycopg.Error):
        session.close()


def _parameters(settings: StoreSettings) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(settings.dsn or "")
    except psycopg.Error:
        given = {}
    if not given:  # the client's own message would quote what may be a password
        raise ConfigurationError(
            "`store.dsn` is no PostgreSQL connection string" if settings.dsn else "`store.dsn` is not set",
            hint="write postgresql://user@host:5432/database",
            code="store_dsn",
        )
    _check_parsed(given)
    timeout_s = settings.timeout_s
    ours = {
        "connect_timeout": max(1, int(timeout_s)),
        "application_name": "soma",
        "keepalives_idle": max(1, int(timeout_s)),
        "keepalives_interval": max(1, int(timeout_s / 3)),
        "keepalives_count": 3,
        "tcp_user_timeout": int(timeout_s * 1000),
    }
    return ours | given | {"client_encoding": "UTF8"}


def _check_parsed(given: dict[str, Any]) -> None:
    """A password with a `/` or `@` that was not escaped is taken for part of the address, and would be shown with it.
    Raises ConfigurationError, which quotes nothing."""
    ports = str(given.get("port") or "0").split(",")
    names = f"{given.get('host') or ''}/{given.get('dbname') or ''}"
    # An @ that a host begins with is that of an abstract socket.
    if "@" in names.removeprefix("@") or not all(port.isdigit() for port in ports if port):
        raise ConfigurationError(
            "`store.dsn` has an address that none can be",
            hint="write what is special in user and password as in a URL: %40 for @, %2F for /, %3A for :, %23 for #",
            code="store_dsn",
        )


def _where(parameters: dict[str, Any]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
    port = parameters.get("port") or "5432"
    database = parameters.get("dbname") or parameters.get("user") or ""
    return f"{host}:{port}" + (f"/{database}" if database else "")
