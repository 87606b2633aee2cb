"""One set of canonical tables in PostgreSQL, live or shadow: reading states, and applying a batch.

A batch is one transaction of three round trips: what is known, the writes, the commit. The rows of its positions are
held from the first to the last, in the order of their partitions, so two workers at one partition take turns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import Pipeline

from soma_cli.core.adapters.memory_store.postgres_arrays import Array, Bigints, Instant, Integers
from soma_cli.core.adapters.memory_store.postgres_connections import Session
from soma_cli.core.adapters.memory_store.postgres_rows import (
    ids_array,
    journal_entries,
    journal_keys,
    journal_outcomes,
    state_columns,
    state_of,
)
from soma_cli.core.adapters.memory_store.store_rules import log_replaced, not_passed
from soma_cli.core.adapters.named_queries import named_queries
from soma_cli.core.instants import now_us
from soma_cli.core.memory import Decision, Entry, EventKey, MemoryState, Outcome, decide
from soma_cli.core.ports import Applied, Batch, EntryRun, PositionMismatch

SQL = Path(__file__).parent / "sql" / "postgres"


class Known(NamedTuple):
    """What the tables hold of a batch's partitions, memories and events."""

    epoch: int
    positions: dict[int, int]
    states: dict[str, MemoryState]
    seen: set[EventKey]


class Tables:
    """The statements of one set of tables; `prefix` is "" for the live ones."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._queries = {name: text.replace("{p}", prefix) for name, text in named_queries(SQL / "queries.sql").items()}
        parts = ("upsert_memories", "write_journal", "store_positions")
        self._queries["write"] = "WITH rows AS ({}), journal AS ({}) {}".format(
            *(self._queries[part] for part in parts)
        )

    def __getitem__(self, name: str) -> bytes:
        return self._queries[name].encode()

    def positions(self, session: Session, topic_id: str) -> dict[int, int]:
        return dict(session.execute(self["positions"], (topic_id,)).fetchall())

    def epoch(self, session: Session, topic_id: str) -> int:
        return _epoch(session.execute(self["epoch"], (topic_id,)).fetchone(), topic_id)

    def states(self, session: Session, ids: Collection[str]) -> dict[str, MemoryState]:
        rows = session.execute(self["states"], (ids_array(ids),), binary=True)
        return {row[0]: state_of(row) for row in rows}

    def apply(self, session: Session, batch: Batch) -> Applied:
        entries = [entry for run in batch.runs for entry in run.entries]
        with session.pipeline() as pipeline, session.transaction():
            known, journal = self._known(session, pipeline, batch, entries)
            runs = [not_passed(run, known.positions.get(run.partition, 0)) for run in batch.runs]
            decisions = [
                decision
                for run in runs
                for decision in decide(run.entries, epoch=known.epoch, states=known.states, seen=known.seen)
            ]
            redelivered = len(entries) - len(decisions)
            if redelivered:
                left = [decision.entry for decision in decisions]
                journal = [*journal_keys(left), *journal_entries(left)]
            moved = [run for run in runs if run.end > run.start]
            self._write(session, pipeline, batch.topic_id, moved, decisions, journal)
        return Applied(decisions, redelivered, known.positions | {run.partition: run.end for run in runs if run.end})

    def _known(
        self, session: Session, pipeline: Pipeline, batch: Batch, entries: Sequence[Entry]
    ) -> tuple[Known, list[Array]]:
        """One round trip; afterwards the rows of the batch's positions are held. What the journal says of the entries
        whatever is decided is packed meanwhile."""
        keys = journal_keys(entries)  # of rejected records there are nulls in them, which nothing is found for
        partitions = Integers(sorted(run.partition for run in batch.runs if run.end > 0))
        session.execute(self["by_index"])
        session.execute(self["begin_positions"], (batch.topic_id, partitions))
        session.execute(self["hold_positions"], (batch.topic_id, partitions))
        epoch = session.execute(self["epoch"], (batch.topic_id,))
        positions = session.execute(self["positions"], (batch.topic_id,))
        states = session.execute(self["states"], keys[:1], binary=True)
        seen = session.execute(self["seen"], keys, binary=True)
        # The server's watch over transactions that stand still runs only after a sync: without, a worker that is
        # stopped here would hold up the others for ever.
        rows = session.sync(pipeline, lambda: journal_entries(entries))
        known = Known(
            _epoch(epoch.fetchone(), batch.topic_id),
            dict(positions.fetchall()),
            {row[0]: state_of(row) for row in states},
            set(seen.fetchall()),
        )
        return known, [*keys, *rows]

    def _write(
        self,
        session: Session,
        pipeline: Pipeline,
        topic_id: str,
        runs: Sequence[EntryRun],
        decisions: Sequence[Decision],
        journal: Sequence[Array],
    ) -> None:
        """One statement, and a sync right behind it: the server ends by itself what it has received, and a worker that
        is stopped meanwhile holds the positions no longer than a transaction may stand still.

        Compare and set: a position moves only from where this transaction read it.
        """
        if not runs:
            return
        newest = {
            decision.state.id: decision.state
            for decision in decisions
            if decision.outcome is Outcome.APPLIED and decision.state is not None
        }
        moves = (
            Integers([run.partition for run in runs]),
            Bigints([run.start for run in runs]),
            Bigints([run.end for run in runs]),
        )
        states, outcomes = state_columns(newest.values()), journal_outcomes(decisions)
        written = session.execute(self["write"], (*states, Instant(now_us()), *journal, *outcomes, *moves, topic_id))
        pipeline.sync()
        moved = {row[0] for row in written}
        for run in runs:
            if run.partition not in moved:
                raise PositionMismatch("another worker moved the stored position meanwhile", run.partition, run.start)


def _epoch(row: tuple[Any, ...] | None, topic_id: str) -> int:
    if not row:
        raise log_replaced(topic_id)
    return int(row[0])
