"""What a connection does while the server is at work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from soma_cli.core.adapters.memory_store.postgres_connections import Connections, Session
from soma_cli.core.errors import ValueRefused
from tests.contracts.adapters import postgres_settings

WORKS_S = 2.0


@pytest.fixture
def session(place: Path) -> Iterator[Session]:
    with closing(Connections(postgres_settings(place), 1).open()) as opened:
        yield opened


def test_what_is_to_do_is_done_once_while_the_server_works(session: Session) -> None:
    began, done_at = time.monotonic(), list[float]()
    with session.pipeline() as pipeline:
        found = session.execute("SELECT 1 FROM pg_sleep(%s)", (WORKS_S,))
        assert session.sync(pipeline, lambda: done_at.append(time.monotonic()) or "done") == "done"
        assert found.fetchall() == [(1,)]
    assert time.monotonic() - began >= WORKS_S
    assert [at - began < WORKS_S / 2 for at in done_at] == [True]


def test_what_it_raises_ends_the_call_and_not_the_connection(session: Session) -> None:
    def refuse() -> None:
        raise ValueRefused("cannot be packed")

    def make() -> None:
        with session.pipeline() as pipeline, session.transaction():
            session.execute("CREATE TABLE made (number integer)")
            session.sync(pipeline, refuse)

    with pytest.raises(ValueRefused, match="cannot be packed"):
        make()
    assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert session.execute("SELECT to_regclass('made') IS NULL").fetchone() == (True,)


def test_a_statement_that_fails_meanwhile_is_what_is_told(session: Session) -> None:
    def fail() -> None:
        with session.pipeline() as pipeline:
            session.execute("SELECT 1 / 0")
            session.sync(pipeline, lambda: None)

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail()
    with session.pipeline() as pipeline:
        assert session.sync(pipeline, lambda: "of now") == "of now"
