"""The connector that lands events in the store: what it should be, and how it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from soma_cli.core.connect_results import ConnectPartition, ConnectPlan, ConnectStatus, ConnectTask
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.instants import MICROSECONDS
from soma_cli.core.operations.connect_config import TOPIC_ID, changes, dead_letter_topic
from soma_cli.core.operations.connect_landing import sink_group
from soma_cli.core.ports import EventLog, MemoryStore
from soma_cli.core.ports.connect import Connect
from soma_cli.core.ports.landing import Landing
from soma_cli.core.record import EVENTS_TOPIC, Position
from soma_cli.core.results import Finding
from soma_cli.core.settings import Settings

MISSING, RUNNING, FAILED = "MISSING", "RUNNING", "FAILED"
_ENDED = (FAILED, "PAUSED", "STOPPED")
"""What a connector, or a task, does not leave by itself."""
_CAUSE = "Caused by: "


def plan(settings: Settings, connect: Connect, wanted: Mapping[str, str], applied: Mapping[int, int]) -> ConnectPlan:
    """What `apply` would do. `applied` are kv's positions. Raises ConfigurationError where Connect lacks a plugin."""
    name = settings.connect.connector
    connect.version()
    _check_plugins(connect, wanted)
    before = connect.config(name)
    different = changes(before or {}, wanted)
    failures = [] if before is None else list(_failures(connect.status(name)))
    other_topic = before is None or before.get(TOPIC_ID) != wanted.get(TOPIC_ID)
    restarts = applied if failures or other_topic else {}
    return ConnectPlan(
        connector=name,
        url=connect.where,
        action="create" if before is None else "change" if different else "nothing",
        changes=different,
        restart_at=[str(Position(EVENTS_TOPIC, partition, offset)) for partition, offset in restarts.items()],
        failures=failures,
    )


def execute(
    settings: Settings, connect: Connect, planned: ConnectPlan, wanted: Mapping[str, str], applied: Mapping[int, int]
) -> ConnectPlan:
    """What kv has passed need not land: that takes a connector past a record on which it has failed.

    Where this ends half-way, the connector stays stopped, which the next plan finds and goes on from.
    """
    name = planned.connector
    if planned.action == "create":
        connect.make(name, wanted)
    if planned.restart_at:
        connect.stop(name)
    if planned.action == "change":
        connect.change(name, wanted)
    if planned.restart_at:
        connect.start_at(name, settings.log.topic_prefix + EVENTS_TOPIC, applied)
    planned.executed = True
    return planned


def status(
    settings: Settings, connect: Connect, log: EventLog, store: MemoryStore, landing: Landing, *, now: int
) -> ConnectStatus:
    """Changes nothing."""
    name, topic_id = settings.connect.connector, log.topic_id(EVENTS_TOPIC)
    version, told = connect.version(), connect.status(name)
    applied, landed = store.positions(topic_id), log.committed(sink_group(settings), EVENTS_TOPIC)
    partitions = [
        ConnectPartition(
            EVENTS_TOPIC,
            partition,
            landed[partition].offset if partition in landed else 0,
            applied.get(partition, 0),
            bounds.end,
        )
        for partition, bounds in log.bounds(EVENTS_TOPIC).items()
    ]
    waiting, since = landing.waiting(topic_id, {row.partition: row.applied for row in partitions})
    found = ConnectStatus(
        connector=name,
        url=connect.where,
        version=version,
        state=MISSING if told is None else str(told.get("connector", {}).get("state", "?")),
        tasks=_tasks(told),
        to_land=sum(max(0, row.end - max(row.landed, row.applied)) for row in partitions),
        waiting=waiting,
        oldest_waiting_s=None if since is None else max(0, now - since) / MICROSECONDS,
        to_apply=sum(max(0, row.end - row.applied) for row in partitions),
        landing_runs=store.landing_runs(),
        dead_letters=dead_letter_topic(settings),
        partitions=partitions,
    )
    found.findings = list(_findings(found, connect.config(name), topic_id))
    return found


def _findings(found: ConnectStatus, config: Mapping[str, str] | None, topic_id: str) -> Iterator[Finding]:
    if found.state == MISSING:
        yield Finding(
            "connector", "error", f"Connect has no connector {found.connector}", "make it with `soma connect apply`"
        )
        return
    if found.state != RUNNING:
        yield Finding(
            "connector", "error", f"the connector is {found.state}, not {RUNNING}", "`soma connect apply` starts it"
        )
    elif not found.tasks:
        yield Finding("tasks", "warning", "the connector has no task yet", "look again in a moment")
    for task in found.tasks:
        if task.state == FAILED:
            yield Finding(
                f"task {task.id}",
                "error",
                f"failed: {task.error}",
                "mend what it names; `soma connect apply` starts it again at where kv is, and so past a record that "
                "it cannot take; meanwhile `soma consume landing` reads the log",
            )
        elif task.state != RUNNING:
            yield Finding(f"task {task.id}", "warning", f"is {task.state}", "look again in a moment")
    if config is not None and config.get(TOPIC_ID) != topic_id:
        yield Finding(
            "topic",
            "error",
            f"what it lands is marked as of topic id {config.get(TOPIC_ID)}; {EVENTS_TOPIC} is {topic_id}",
            "`soma connect apply` tells it of the topic that is there now",
        )


def _failures(told: Mapping[str, Any] | None) -> Iterator[str]:
    """Why it does not run, and will not by itself."""
    connector = (told or {}).get("connector", {})
    if (state := connector.get("state")) in _ENDED:
        cause = _cause(connector.get("trace"))
        yield f"the connector is {state}" + (f": {cause}" if cause else "")
    for task in _tasks(told):
        if task.state in _ENDED:
            yield task.error or f"task {task.id} is {task.state}"


def _tasks(told: Mapping[str, Any] | None) -> list[ConnectTask]:
    tasks = (told or {}).get("tasks", [])
    return [
        ConnectTask(task["id"], task["state"], str(task.get("worker_id", "")), _cause(task.get("trace")))
        for task in tasks
    ]


def _cause(trace: str | None) -> str | None:
    """The first line of what a trace goes back to, without the package of its class."""
    if not trace:
        return None
    lines = trace.splitlines()
    causes = [line.removeprefix(_CAUSE) for line in lines if line.startswith(_CAUSE)]
    kind, _, said = (causes[-1] if causes else lines[0]).partition(": ")
    return f"{kind.rpartition('.')[2]}: {said}" if said else kind.rpartition(".")[2]


def _check_plugins(connect: Connect, wanted: Mapping[str, str]) -> None:
    """The connector and its transformations; converters are Connect's own."""
    needed = {value for key, value in wanted.items() if key == "connector.class" or _is_transformation(key)}
    if missing := sorted(needed - connect.plugins()):
        raise ConfigurationError(
            f"Kafka Connect at {connect.where} does not have {', '.join(missing)}",
            hint="put Debezium's JDBC connector with PostgreSQL's driver into a folder of its own under `plugin.path`, "
            "and start Connect again",
            code="connect_plugin_missing",
        )


def _is_transformation(key: str) -> bool:
    parts = key.split(".")
    return parts[0] == "transforms" and len(parts) == 3 and parts[2] == "type"
