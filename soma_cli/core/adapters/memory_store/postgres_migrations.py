"""Making the tables, bringing old ones up to this version, and telling which version there is."""

from __future__ import annotations

import psycopg

from soma_cli.core.adapters.memory_store.postgres_arrays import Texts
from soma_cli.core.adapters.memory_store.postgres_connections import Session
from soma_cli.core.adapters.memory_store.postgres_errors import not_initialised
from soma_cli.core.adapters.memory_store.postgres_tables import SQL, Tables
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.ports import Provisioned

TABLES = ("access", "epochs", "memories", "memory_events", "memory_landing", "positions")
_STEPS = sorted((SQL / "migrations").glob("*.sql"))
_TURN = "SELECT pg_advisory_lock(hashtextextended('soma migrations ' || current_schema(), 0))"
_VERSIONS = "CREATE TABLE IF NOT EXISTS soma_schema (version integer PRIMARY KEY, made_at timestamptz DEFAULT now())"


def schema_version(session: Session) -> int:
    """0 where there are no tables."""
    try:
        row = session.execute("SELECT max(version) FROM soma_schema").fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return row[0] or 0 if row else 0


def check_schema(session: Session, where: str) -> None:
    """Raises ConfigurationError unless the tables are of exactly this version."""
    found = schema_version(session)
    if found < len(_STEPS):
        raise not_initialised(where)
    _refuse_newer(found, where)


def migrate(session: Session, where: str) -> Provisioned:
    """Each migration in a transaction of its own; whoever comes at the same time waits until the session is closed."""
    _check_server(session, where)
    session.execute(_TURN)
    existing = [row[0] for row in session.execute(Tables()["existing"], (Texts(TABLES),))]
    steps: list[str] = []
    for number, step in enumerate(_STEPS, start=1):
        with session.transaction():
            session.execute(_VERSIONS)
            found = schema_version(session)
            _refuse_newer(found, where)
            if found < number:
                session.execute(step.read_bytes())
                session.execute("INSERT INTO soma_schema (version) VALUES (%s)", (number,))
                steps.append(step.stem)
    fresh = "001_tables" in steps
    made = [name for name in TABLES if name not in existing] if fresh else []
    upgrades = [] if fresh else [f"migration {name}" for name in steps]
    return Provisioned(made + upgrades, [name for name in TABLES if name not in made], [])


def _refuse_newer(found: int, where: str) -> None:
    if found > len(_STEPS):
        raise ConfigurationError(
            f"the tables in PostgreSQL at {where} have schema version {found}; this soma knows versions up to "
            f"{len(_STEPS)}",
            hint="upgrade soma, or name another database in `store.dsn`",
            code="store_newer",
        )


def _check_server(session: Session, where: str) -> None:
    row = session.execute("SELECT current_schema(), current_setting('server_encoding')").fetchone()
    assert row is not None
    if session.info.server_version < 140000:
        raise ConfigurationError(
            f"PostgreSQL at {where} has version {session.info.server_version // 10000}; soma wants 14 or newer",
            hint="upgrade the server, or name another in `store.dsn`",
            code="store_too_old",
        )
    if row[0] is None or row[1] != "UTF8":
        said = "its search_path names no schema that exists" if row[0] is None else f"its encoding is {row[1]}"
        raise ConfigurationError(
            f"the database at {where} cannot hold soma's tables: {said}",
            hint="name a database with the encoding UTF8, and a schema that exists, in `store.dsn`",
            code="store_unsuitable",
        )
