"""What operators do with the Connect path: Kafka Connect lands events, `consume landing` applies them.

with create_memory_system() as soma:
    status = soma.admin.connect.status()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from soma_cli.core.connect_results import ConnectPlan, ConnectStatus
from soma_cli.core.instants import now_us
from soma_cli.core.operations import connect as operations
from soma_cli.core.operations import projections
from soma_cli.core.operations.connect_config import read_config, wanted_config
from soma_cli.core.ports.connect import Connect
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.settings import Settings
from soma_cli.core.wiring import Adapters, connect_target, open_connect


class ConnectPath:
    """The connector that lands events of one system; reached as `MemorySystem.admin.connect`."""

    def __init__(self, settings: Settings, adapters: Adapters) -> None:
        self._settings, self._adapters = settings, adapters

    def status(self) -> ConnectStatus:
        """How the connector is, and how far. Changes nothing. Raises ServiceUnavailable, ConfigurationError."""
        with self._connect() as connect, closing(self._adapters.landing()) as landing:
            connect.version()
            log, store = self._adapters.log, self._adapters.store
            return operations.status(self._settings, connect, log, store, landing, now=now_us())

    def apply(self, file: Path | None = None, *, execute: bool = True) -> ConnectPlan:
        """Make the connector, or bring its configuration in line with the settings; start again what does not run.

        `file`: another configuration than the one that ships with soma. Without `execute` only the plan is made.
        Raises ServiceUnavailable, ConfigurationError, LogReplaced.
        """
        lines = read_config(file)
        with self._connect() as connect, closing(self._adapters.landing()) as landing:
            target = connect_target(self._settings)
            connect.version()
            log, store = self._adapters.log, self._adapters.store
            projections.registered_epoch(log, store)
            topic_id = log.topic_id(EVENTS_TOPIC)
            stored = store.positions(topic_id)
            applied = {partition: stored.get(partition, 0) for partition in log.bounds(EVENTS_TOPIC)}
            wanted = wanted_config(self._settings, topic_id, target | {"schema": landing.schema()}, lines)
            planned = operations.plan(self._settings, connect, wanted, applied)
            return operations.execute(self._settings, connect, planned, wanted, applied) if execute else planned

    @contextmanager
    def _connect(self) -> Iterator[Connect]:
        with closing(open_connect(self._settings)) as connect:
            yield connect
