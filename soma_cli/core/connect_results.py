"""What operations on the Connect path return: documented JSON shapes, like those of `results`."""

from __future__ import annotations

from dataclasses import dataclass, field

from soma_cli.core.results import Finding


@dataclass(slots=True)
class ConfigChange:
    """One line of a connector's configuration; null where it is not there. Passwords are hidden."""

    key: str
    before: str | None
    after: str | None


@dataclass(slots=True)
class ConnectPlan:
    """`action` is `create`, `change` or `nothing`. `restart_at`: where the connector starts, if it is made, if it has
    failed or somebody stopped it (`failures`), or another topic is there now: at kv's positions, since what lies before
    is applied. `executed` tells whether it was done."""

    connector: str
    url: str
    action: str
    changes: list[ConfigChange]
    restart_at: list[str]
    failures: list[str]
    executed: bool = False


@dataclass(slots=True)
class ConnectTask:
    """`error` is the cause that the trace of a failed task ends with."""

    id: int
    state: str
    worker: str
    error: str | None


@dataclass(slots=True)
class ConnectPartition:
    """`landed` is the next offset that Connect has not passed, as it told its group last; `applied` kv's."""

    topic: str
    partition: int
    landed: int
    applied: int
    end: int


@dataclass(slots=True)
class ConnectStatus:
    """`state` is the connector's, `MISSING` where there is none. `to_land` are offsets that Connect has yet to pass,
    `waiting` the rows that landed and are not applied, `oldest_waiting_s` since when. `landing_runs`: whether a
    `consume landing` is at them. `findings` say what is wrong."""

    connector: str
    url: str
    version: str
    state: str
    tasks: list[ConnectTask]
    to_land: int
    waiting: int
    oldest_waiting_s: float | None
    to_apply: int
    landing_runs: bool
    dead_letters: str
    partitions: list[ConnectPartition] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
