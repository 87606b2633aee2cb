"""audit: every record of `memory.events` into `memory.audit`, exactly once, before compaction can take it."""

from __future__ import annotations

from collections.abc import Sequence

from soma_cli.core.eventing.audit import audit_record
from soma_cli.core.ports import EventLog, Run
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.workers.copying import CopySource
from soma_cli.core.workers.names import AUDIT
from soma_cli.core.workers.projection import Tally


class AuditWriter:
    """Copies partition to partition, in transactions that carry the offsets. Needs neither kv nor its store."""

    name = AUDIT

    def __init__(self, log: EventLog, source: CopySource) -> None:
        self._source = source
        self._topic_id = log.topic_id(EVENTS_TOPIC)

    def positions(self) -> dict[int, int]:
        return self._source.positions()

    def process(self, runs: Sequence[Run]) -> Tally:
        copied = self._source.publish(runs, self._copies)
        return Tally(read=copied, applied=copied)

    def _copies(self, runs: Sequence[Run]) -> list[NewRecord]:
        return [audit_record(record, self._topic_id) for run in runs for record in run.records]
