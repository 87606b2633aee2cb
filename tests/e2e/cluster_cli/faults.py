"""Servers that are wrong in some way, and what the command line has to say of each."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests.e2e.conftest import Soma
from tests.services import new_topic_prefix

ID = "01890000-0000-7000-8000-000000000001"
TIMEOUT_S = 1.0
AT_MOST_S = 15.0
"""Of a command in this process: two or three times a server's timeout, and what a busy machine adds."""
_ADDRESSES = {"LOG": "BOOTSTRAP_SERVERS", "STORE": "DSN", "INDEX": "URL"}
_OURS = re.compile(r"soma: |\d{4}-\d\d-\d\dT[\d:]+Z (kv|vector|audit|latest) ")
SECRET = "s3cret-of-the-test"

NEED_LOG = {
    "store": ["store", "--text", "x"],
    "history": ["history", ID],
    "lag": ["lag"],
    "init": ["init"],
    "stats": ["stats"],
    "produce": ["produce", "-"],
    "replay": ["replay"],
    "replay --into": ["replay", "--into", "kv"],
    "dlq list": ["dlq", "list"],
    "wait": ["wait", "memory.events/0@0"],
    "trace": ["trace", ID],
}
NEED_STORE = {
    "update": ["update", ID, "--text", "x"],
    "delete": ["delete", ID],
    "get": ["get", ID],
    "search": ["search", "x"],
    "list": ["list"],
    "prune": ["prune"],
    "score": ["score", ID],
    **{
        name: NEED_LOG[name] for name in ("history", "lag", "init", "stats", "replay", "replay --into", "wait", "trace")
    },
}
READING_WORKERS = {f"consume {name}": ["consume", name] for name in ("kv", "vector", "latest")}
WORKERS = {**READING_WORKERS, "consume audit": ["consume", "audit"]}


class Installation(Soma):
    """The command line on given servers with short patience; topics, groups, keys and index of its own."""

    def __init__(self, folder: Path, kafka: str, dsn: str, partitions: int = 2) -> None:
        super().__init__(folder / "data", folder / "output")
        self.prefix = new_topic_prefix()
        self.settings = {
            "SOMA_PROFILE": "cluster",
            "SOMA_LOG__BOOTSTRAP_SERVERS": kafka,
            "SOMA_LOG__REPLICATION_FACTOR": "1",
            "SOMA_LOG__PARTITIONS": str(partitions),
            "SOMA_LOG__TOPIC_PREFIX": self.prefix,
            "SOMA_LOG__GROUP_PREFIX": self.prefix.rstrip("."),
            "SOMA_LOG__SESSION_TIMEOUT_S": "6",
            "SOMA_STORE__DSN": dsn,
            "SOMA_CACHE__KIND": "none",
            "SOMA_CACHE__PREFIX": self.prefix,
            "SOMA_INDEX__KIND": "qdrant_edge",
            "SOMA_REGISTRY__KIND": "files",
            "SOMA_WORKER__BACKOFF_MAX_S": "0.5",
        }

    def group(self, worker: str) -> str:
        return f"{self.prefix.rstrip('.')}-{worker}"


def hurried(fault: Mapping[str, str]) -> dict[str, str]:
    """The fault, with little patience for the servers whose address it changes. The others have their usual time to
    answer, also on a busy machine."""
    parts = (part for part, address in _ADDRESSES.items() if f"SOMA_{part}__{address}" in fault)
    return {f"SOMA_{part}__TIMEOUT_S": str(TIMEOUT_S) for part in parts} | {**fault}


def failed(soma: Installation, arguments: list[str], fault: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Exit code and error object of a command that must fail within bounds, telling no password."""
    began = time.monotonic()
    line = json.dumps({"payload": {"text": "x"}}).encode()
    done = soma.inline(*arguments, "-o", "json", env=hurried(fault), stdin=line)
    took_s = time.monotonic() - began
    assert done.returncode != 0, f"{arguments} succeeded: {done.stdout}"
    assert took_s < AT_MOST_S, f"{arguments} took {took_s:.1f} s"
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, error_of(done)


def error_of(done: CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stderr; notes before it are soma's own."""
    *notes, last = done.stderr.strip().splitlines()
    assert all(_OURS.match(note) for note in notes), done.stderr
    error: dict[str, Any] = json.loads(last)["error"]
    assert "\n" not in error["message"]
    assert "Traceback" not in done.stderr
    return error


@contextmanager
def silent_listener() -> Iterator[int]:
    """The port of a listener that accepts and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in kept:
            connection.close()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of loopback that nobody listens on, and nobody can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
