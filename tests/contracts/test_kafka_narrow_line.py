"""Brokers behind a line so narrow that a batch does not fit into the time of one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from soma_cli.core.adapters.event_log.kafka import KafkaEventLog
from soma_cli.core.record import AUDIT_TOPIC, EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import LogSettings
from tests.contracts.events import everything
from tests.contracts.test_kafka_broker_restart import copying, held, until
from tests.services import KafkaCluster
from tests.services.narrow import NarrowLine

RECORD_BYTES, RECORDS = 20_000, 400
BYTES_PER_S = 600_000
"""All records are 8 MB: more than four times what goes through within the 3 s that a transaction may take."""


@pytest.fixture
def line() -> Iterator[NarrowLine]:
    with (
        NarrowLine() as line,
        KafkaCluster(settings={"advertised.listeners": f"BROKER://127.0.0.1:{line.port}"}) as cluster,
    ):
        line.to = int(cluster.address.rpartition(":")[2])
        yield line


def test_a_batch_that_does_not_fit_into_a_transaction_is_copied_in_parts(line: NarrowLine) -> None:
    settings = LogSettings("kafka", f"127.0.0.1:{line.port}", 2, 1, "narrow.", timeout_s=3, session_timeout_s=6)
    log = KafkaEventLog(replace(settings, timeout_s=60))
    log.provision()
    log.append([NewRecord(EVENTS_TOPIC, b"%d" % n, b"%04d" % n * (RECORD_BYTES // 4)) for n in range(RECORDS)])
    line.bytes_per_s = BYTES_PER_S
    with copying(settings) as copier:
        until(lambda: copier.passed() == held(log), "everything was copied", copier)
    assert "retrying" in copier.states, "the batch fitted, so that nothing was tried"
    line.bytes_per_s = None
    until(lambda: len(everything(log, AUDIT_TOPIC)) >= RECORDS, "the broker has ended the last transaction")
    keys = sorted(copy.key or b"" for copy in everything(log, AUDIT_TOPIC))
    assert keys == sorted(b"%d" % number for number in range(RECORDS))
    log.close()
