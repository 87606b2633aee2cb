"""The landing worker: kv, reading what Kafka Connect landed instead of the log."""

from __future__ import annotations

from collections.abc import Callable

from soma_cli.core.ports import Assigned, Consumer, EventLog, Revoked, Run
from soma_cli.core.ports.landing import Landing
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.workers.kv_writer import JudgedRecords, judged
from soma_cli.core.workers.landing_consumer import LandingConsumer, Pace
from soma_cli.core.workers.source import Source


def sink_group(settings: Settings) -> str:
    """The group of Connect's own consumer, which Connect names after the connector."""
    return f"connect-{settings.connect.connector}"


def landing_source(settings: Settings, log: EventLog, open_landing: Callable[[], Landing]) -> Source:
    """Raises ConfigurationError where nothing can land."""
    landing = open_landing()
    pace = Pace(settings.connect.stall_s, 2 * settings.worker.poll_interval_s, settings.connect.applied == "keep")

    def prepare(run: Run) -> Run | None:
        found = judged(log, run)
        if any(entry.rejection is not None for entry in found.entries):
            return None
        return run._replace(records=JudgedRecords(found))

    def join(start: Assigned, revoked: Revoked) -> Consumer:
        return LandingConsumer(landing, log, sink_group(settings), pace, prepare, start, revoked)

    return Source(EVENTS_TOPIC, join)
