"""Whether the tables in PostgreSQL can be used, looked at without changing anything."""

from __future__ import annotations

import time

from soma_cli.core.adapters.memory_store.postgres_connections import Session
from soma_cli.core.adapters.memory_store.postgres_migrations import check_schema, schema_version
from soma_cli.core.adapters.memory_store.postgres_tables import Tables
from soma_cli.core.errors import SomaError
from soma_cli.core.results import Finding

_SKEW_S = 5.0
_MEGABYTE = 1_000_000


def store_health(session: Session, tables: Tables, where: str, *, deep: bool) -> list[Finding]:
    """Reachable, role, clock, schema, rights and leftovers; with `deep`, sizes and damaged indexes too."""
    findings = [_server(session, tables, where), _clock(session, tables)]
    try:
        check_schema(session, where)
    except SomaError as error:
        return [*findings, Finding("store", "error", error.message, error.hint)]
    version = schema_version(session)
    findings.append(Finding("store", "ok", f"the tables in PostgreSQL at {where} have schema version {version}"))
    findings += _rights(session, tables) + _leftovers(session, tables)
    return findings + (_deep(session, tables) if deep else [])


def _server(session: Session, tables: Tables, where: str) -> Finding:
    row = session.execute(tables["server"]).fetchone()
    assert row is not None
    version, replica, read_only, encoding = row
    said = f"PostgreSQL {version} at {where}"
    if replica or read_only:
        kind = "a replica" if replica else "read-only"
        return Finding("store server", "error", f"{said} is {kind}", "name the primary in `store.dsn`")
    if encoding != "UTF8":
        hint = "make a database with the encoding UTF8, and name it in `store.dsn`"
        return Finding("store server", "error", f"the encoding of the database at {where} is {encoding}", hint)
    return Finding("store server", "ok", f"{said} takes writes")


def _clock(session: Session, tables: Tables) -> Finding:
    before = time.time()
    row = session.execute(tables["clock"]).fetchone()
    after = time.time()
    assert row is not None
    skew_s = float(row[0]) - (before + after) / 2
    if abs(skew_s) > _SKEW_S + (after - before):
        return Finding(
            "store clock",
            "warning",
            f"the clock of PostgreSQL is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's",
            "let both follow a time server",
        )
    return Finding("store clock", "ok", "the clocks of PostgreSQL and this machine agree")


def _rights(session: Session, tables: Tables) -> list[Finding]:
    missing = [f"{right} on {table}" for table, right in session.execute(tables["missing_rights"]).fetchall()]
    if missing:
        hint = "grant them, or name another user in `store.dsn`"
        return [Finding("store rights", "error", f"the user of `store.dsn` lacks {', '.join(missing)}", hint)]
    return [Finding("store rights", "ok", "the user of `store.dsn` can read and write the tables")]


def _leftovers(session: Session, tables: Tables) -> list[Finding]:
    found = session.execute(tables["leftovers"]).fetchall()
    runs = session.execute(tables["turn_is_taken"], ("soma rebuild kv ",)).fetchone()
    if not found or (runs and runs[0]):
        return []
    message = f"{len(found)} tables of a rebuild of kv that died take up space"
    return [Finding("leftovers", "warning", message, "the next `soma replay --into kv` drops them")]


def _deep(session: Session, tables: Tables) -> list[Finding]:
    sizes = session.execute(tables["sizes"]).fetchall()
    said = ", ".join(f"{name} {size / _MEGABYTE:.1f} MB" for name, size in sizes)
    findings = [Finding("store size", "ok", said)]
    broken = [row[0] for row in session.execute(tables["invalid_indexes"]).fetchall()]
    if broken:
        hint = f"REINDEX INDEX {broken[0]}"
        findings.append(Finding("store indexes", "error", f"indexes are not valid: {', '.join(broken)}", hint))
    return findings
