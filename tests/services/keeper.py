"""The process that keeps one shared server of a test run, and ends it when the run is over.

    python -m tests.services.keeper SERVER STATE_FILE PID

Starts the server (a container where Docker's engine answers, else a local process), writes the state file, one JSON
object, and waits until the process PID, the run's controller, is gone, however it ends. The object is {"address": the
address, "keeper": process id}, or {"missing": why it cannot be had}, or {"failed": why it did not start}. If the
keeper itself is killed, the kernel ends its local server.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services.addresses import kafka_address
from tests.services.connect import ConnectServer
from tests.services.containers import CONTAINERS, engine_answers, start_container
from tests.services.kafka import KafkaCluster
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.services.registry import RegistryServer
from tests.services.required import StartFailed, cannot_be_had

Local = ConnectServer | KafkaCluster | PostgresServer | RedisServer | RegistryServer
_LOCAL: dict[str, Callable[[], Local]] = {
    # Nobody stops this one, so its controller need not put it out for a pause of a busy machine.
    "kafka": lambda: KafkaCluster(settings={"broker.session.timeout.ms": "60000"}),
    "postgres": lambda: PostgresServer(durable=False),
    "redis": RedisServer,
    "registry": RegistryServer,
    "connect": lambda: ConnectServer(kafka_address()),
}


def main(server: str, state: Path, controller: int) -> None:
    try:
        controller_ended = os.pidfd_open(controller)
    except ProcessLookupError:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as at_the_end:
        at_the_end.callback(shutil.rmtree, state.parent, ignore_errors=True)
        _write(state, _start(server, at_the_end))
        select.select([controller_ended], [], [])


def _start(server: str, at_the_end: ExitStack) -> dict[str, object]:
    """Start it and have it stopped at the end; what the state file tells of it."""
    try:
        if server in CONTAINERS and engine_answers():
            container, address = start_container(server)
            at_the_end.callback(container.stop)
        else:
            local = _local(server)
            at_the_end.push(local)
            address = local.start().address
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        return {"missing": str(missing)}
    except StartFailed as failed:
        return {"failed": str(failed)}
    return {"address": address, "keeper": os.getpid()}


def _local(server: str) -> Local:
    if server not in _LOCAL:
        cannot_be_had(f"no package carries {server}: give its address in SOMA_TEST_{server.upper()}, or run Docker")
    return _LOCAL[server]()


def _write(state: Path, content: dict[str, object]) -> None:
    whole = state.with_suffix(".new")
    whole.write_text(json.dumps(content))
    whole.rename(state)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
