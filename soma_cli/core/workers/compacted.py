"""Telling of events that a worker passes over, because compaction may have taken them before the audit had them."""

from __future__ import annotations

import logging

from soma_cli.core.eventing.audit import unaudited
from soma_cli.core.ports import EventLog
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC

logger = logging.getLogger("soma")


def warn_of_unaudited(log: EventLog, worker: str, partition: int, start: int, end: int) -> None:
    """[start, end) is what the worker has not passed of the offsets that compaction has reached."""
    if (lacking := unaudited(log, partition, start, end)) is None:
        return
    logger.warning(
        "%s reads %s/%d from offset %d to %d as compaction left it, because %s does not have it: states and history "
        "may be lacking, and only a backup of the store or of %s has them; start `soma consume audit`, and leave it "
        "running",
        worker,
        EVENTS_TOPIC,
        partition,
        lacking[0],
        lacking[1] - 1,
        AUDIT_TOPIC,
        AUDIT_TOPIC,
    )
