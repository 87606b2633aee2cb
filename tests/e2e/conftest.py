"""What the end-to-end tests share: the command line as real processes on a data folder of the test's own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from soma_cli.core.memory import Decision, MemoryState, decide
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.core.workers.kv_writer import judge
from soma_cli.main import app

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""How long a test waits for what should take moments: only a hang takes that long, on a busy machine too."""


class Running:
    """A process under way, its output in files, so that it never waits for a reader."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.monotonic_ns()}"
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    def terminated(self) -> int:
        """The exit code after SIGTERM."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def says(self, text: str) -> None:
        """Wait until stderr has the text."""
        wait_until(lambda: text in self.stderr, f"{text!r} on stderr, which has: {self.stderr}", self.process)


class Soma:
    """The command line on one data folder; each call is a process of its own."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {}
        self._scratch = scratch
        self._running: list[Running] = []

    def env(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
        return {**inherited, "SOMA_DATA_DIR": str(self.folder), "PYTHONUNBUFFERED": "1", **self.settings, **more}

    def run(
        self, *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The finished process; its output as text."""
        done = subprocess.run(
            command_line(arguments), cwd=ROOT, env=self.env(**env or {}), input=stdin or b"", capture_output=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def inline(
        self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same within this process, where only messages and exit codes matter: twenty times as fast."""
        variables = {"SOMA_DATA_DIR": str(self.folder), **self.settings, **(env or {})}
        done = CliRunner().invoke(app, list(arguments), input=stdin, env=variables)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def json(self, *arguments: str, stdin: bytes | None = None) -> Any:
        """What a command that must succeed prints with -o json; a list where it prints several objects."""
        done = self.run(*arguments, "-o", "json", stdin=stdin)
        if done.returncode != 0:
            pytest.fail(f"soma {' '.join(arguments)} exited {done.returncode}: {done.stderr}")
        values = [json.loads(line) for line in done.stdout.splitlines()]
        return values[0] if len(values) == 1 else values

    def start(self, *arguments: str, **env: str) -> Running:
        return self.start_command(command_line(arguments), **env)

    def start_script(self, script: str, *arguments: str) -> Running:
        """A Python process of the script's text, with soma on its path."""
        return self.start_command([sys.executable, "-c", script, *arguments])

    def start_command(self, command: list[str], **env: str) -> Running:
        running = Running(command, self.env(**env), self._scratch)
        self._running.append(running)
        return running

    def library(self, **overrides: Any) -> MemorySystem:
        """The library on the same folder, without what environment and settings files say."""
        return create_memory_system(data_dir=str(self.folder), **overrides)

    def kill_all(self) -> None:
        for running in self._running:
            running.kill()


def command_line(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "soma_cli", *arguments]


@pytest.fixture
def soma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soma]:
    for name in [name for name in os.environ if name.startswith("SOMA_")]:
        monkeypatch.delenv(name)
    command = Soma(tmp_path / "data", tmp_path / "output")
    yield command
    command.kill_all()


def wait_until(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the condition holds; fail after a long while, or as soon as the process that must do it has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            pytest.fail(f"the process ended with {process.returncode} before there was {what}")
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain for {what}")
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def patient_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lag` and `doctor` give servers seconds only; a busy machine may need more. How short their looks are is tested
    where this is put off."""
    monkeypatch.setattr("soma_cli.commands.options.LOOK_WITHIN_S", 15.0)
    monkeypatch.setattr("soma_cli.core.operations.doctor.SERVERS_WITHIN_S", 40.0)


def groups_of_lag(soma: Soma) -> list[dict[str, Any]]:
    """What `soma lag` tells of the groups; nothing where a server needs longer than `lag` waits for one."""
    done = soma.inline("lag", "-o", "json")
    groups: list[dict[str, Any]] = json.loads(done.stdout)["groups"] if done.stdout else []
    return groups


def log_end(system: MemorySystem) -> int:
    return system.adapters.log.bounds(EVENTS_TOPIC)[0].end


def fold_of_the_log(system: MemorySystem) -> tuple[dict[str, MemoryState], list[Decision]]:
    """States by id and decisions by offset, made from the log alone by the pure fold."""
    states: dict[str, MemoryState] = {}
    records = system.adapters.log.scan(EVENTS_TOPIC, 0, 0, log_end(system))
    decisions = decide([judge(record) for record in records], epoch=0, states=states, seen=set())
    return states, decisions


def check_projections(system: MemorySystem) -> list[Decision]:
    """Rows, journal and index equal the fold of the log, row for row. Returns the fold's decisions."""
    states, decisions = fold_of_the_log(system)
    rows = {state.id: state for state in system.adapters.store.scan_states(deleted=True)}
    wrong = [id for id in states.keys() | rows.keys() if states.get(id) != rows.get(id)]
    assert not wrong, (
        f"{len(wrong)} of {len(states)} rows differ, the first: {states.get(wrong[0])} != {rows.get(wrong[0])}"
    )
    made = [_journal_row(decision) for decision in decisions]
    journal = journal_rows(system)
    assert journal == made, _first_difference(journal, made)
    points = {point.id: (point.version, point.deleted) for point in system.adapters.index.scan()}
    assert points == {id: (state.version, state.deleted) for id, state in states.items()}, "the index differs"
    return decisions


def journal_rows(system: MemorySystem) -> list[tuple[Any, ...]]:
    """The journal as it lies in the store: seq, id, event_id, type, append time, outcome, note, event."""
    with closing(sqlite3.connect(system.settings.data_dir / "store.sqlite3")) as connection:
        return connection.execute(
            "SELECT seq, CASE WHEN outcome = 'rejected' THEN NULL ELSE id END, event_id, type, appended_at, outcome, "
            "note, CASE WHEN outcome = 'rejected' THEN NULL ELSE event END FROM memory_events ORDER BY seq"
        ).fetchall()


def _journal_row(decision: Decision) -> tuple[Any, ...]:
    record, event = decision.entry.record, decision.entry.event
    known = (None, None, None) if event is None else (event.id, event.event_id, event.type)
    text = None if event is None else event.value.decode()
    return (decision.version, *known, record.appended_at, decision.outcome.value, decision.note, text)


def _first_difference(found: list[Any], wanted: list[Any]) -> str:
    pairs = ((a, b) for a, b in zip(found, wanted, strict=False) if a != b)
    return f"{len(found)} journal rows, {len(wanted)} decisions; first difference: {next(pairs, None)}"
