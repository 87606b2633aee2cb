"""Workers as processes: signals, limits, reading again, records of foreign writers, services that go away."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.event import new_id
from soma_cli.core.eventing.dead_letters import DeadLetter, read_letters
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import EmbedderSettings, Settings
from soma_cli.core.system import MemorySystem
from soma_cli.core.workers.observation import NoObserver
from soma_cli.core.workers.projection import Tally
from tests.e2e.conftest import (
    PATIENCE_S,
    ROOT,
    Running,
    Soma,
    check_projections,
    command_line,
    journal_rows,
    log_end,
    wait_until,
)
from tests.services.embedding_server import control, running_embedding_server, stats

SUMMARY = {
    "worker", "read", "applied", "duplicate", "ignored", "rejected", "redelivered", "last_positions", "elapsed_s"
}  # fmt: skip
DRAIN_S = 10.0


def fill(system: MemorySystem, count: int, text: str = "note") -> list[str]:
    """Append that many memories, without a look at the store; their ids."""
    ids = [new_id() for _ in range(count)]
    append_raw(system, *[(id.encode(), event(id, payload={"text": f"{text} {n}"})) for n, id in enumerate(ids)])
    return ids


def append_raw(system: MemorySystem, *pairs: tuple[bytes | None, bytes | None]) -> int:
    """Append records as a foreign writer may; the first one's offset."""
    receipts = system.adapters.log.append([NewRecord(EVENTS_TOPIC, key, value) for key, value in pairs])  # type: ignore[arg-type]
    return receipts[0].position.offset


def event(id: str, **changes: Any) -> bytes:
    document = {
        "event_id": new_id(), "id": id, "namespace": "default", "type": "created",
        "timestamp": "2026-01-01T00:00:00Z", "payload": {"text": "a good one"},
    }  # fmt: skip
    return json.dumps({**document, **changes}).encode()


def summaries(text: str) -> dict[str, dict[str, Any]]:
    return {row["worker"]: row for row in json.loads(text)}


def kv_position(system: MemorySystem) -> int:
    return system.adapters.store.positions(system.adapters.log.topic_id(EVENTS_TOPIC)).get(0, 0)


def index_position(system: MemorySystem) -> int:
    return system.adapters.index.positions(system.adapters.log.topic_id(EVENTS_TOPIC)).get(0, 0)


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_drains_the_worker(soma: Soma, number: signal.Signals, busy: bool) -> None:
    with soma.library() as system:
        fill(system, 4000 if busy else 3)
        batch = "1" if busy else "500"
        worker = soma.start("consume", "all", "--batch-size", batch, "-o", "json")
        wait_until(lambda: kv_position(system) >= (20 if busy else 3), "progress", worker.process)
        began = time.monotonic()
        worker.signal(number)
        assert worker.wait() == 0, worker.stderr
        assert time.monotonic() - began < DRAIN_S
        done = summaries(worker.stdout)
        assert done.keys() == {"kv", "vector"}
        assert done["kv"]["last_positions"] == {"memory.events/0": kv_position(system) - 1}
        assert done["vector"]["last_positions"] in ({}, {"memory.events/0": index_position(system) - 1})
        assert f"all stopped: {number.name}" in worker.stderr
        if busy:
            assert kv_position(system) < 4000, "it went on to the end instead of stopping"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_worker_at_once(soma: Soma, number: int, code: int) -> None:
    """The batch in hand cannot end: its embedder keeps it waiting."""
    with running_embedding_server() as url, soma.library() as system:
        control(url, delay_s=60.0)
        soma.settings = embedder_settings(url)
        fill(system, 3)
        worker = soma.start("consume", "vector")
        wait_until(lambda: stats(url)["requests"] > 0, "a request to the embedder", worker.process)
        worker.signal(number)
        worker.signal(number)  # as `timeout` does, which signals a process and then its group
        time.sleep(2.5)
        assert worker.process.poll() is None, "the batch in hand was given up at the first signal"
        worker.signal(number)
        assert worker.wait(30.0) == code  # the embedder takes a minute
        assert "again: leaving the batch in hand" in worker.stderr
        assert index_position(system) == 0


def test_a_batch_that_does_not_end_is_given_up_when_the_drain_time_is_over(soma: Soma) -> None:
    with running_embedding_server() as url, soma.library() as system:
        control(url, delay_s=60.0)
        soma.settings = {**embedder_settings(url), "SOMA_WORKER__DRAIN_TIMEOUT_S": "1"}
        fill(system, 3)
        worker = soma.start("consume", "vector")
        wait_until(lambda: stats(url)["requests"] > 0, "a request to the embedder", worker.process)
        assert worker.terminated() == 143
        assert "did not end within 1 s" in worker.stderr


# --- limits and output ---


def test_until_end_and_max_events(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 30)
        some = soma.json("consume", "kv", "--max-events", "12", "--batch-size", "5")
        assert set(some) == SUMMARY
        assert (some["read"], some["applied"], some["last_positions"]) == (12, 12, {"memory.events/0": 11})
        assert kv_position(system) == 12
        rest = soma.json("consume", "kv", "--until-end")
        assert (rest["read"], rest["applied"], rest["last_positions"]) == (18, 18, {"memory.events/0": 29})
        assert isinstance(rest["elapsed_s"], float)


def test_the_summary_is_on_stdout_and_the_reason_on_stderr(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 3)
    done = soma.run("consume", "kv", "--until-end")
    assert done.returncode == 0
    assert done.stdout.startswith("kv: read 3 (3 applied), last position memory.events/0@2")
    assert "soma: kv stopped: reached the end" in done.stderr


def test_reading_again_counts_redelivered_and_changes_nothing(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 20)
        append_raw(system, (b"x", b"{"), (None, None))
        soma.json("consume", "all", "--until-end")
        journal, letters = journal_rows(system), read_letters(system.adapters.log)
        for name in ("kv", "vector"):
            again = soma.json("consume", name, "--until-end", "--from", "beginning")
            assert (again["read"], again["redelivered"]) == (22, 22), again
            assert (again["applied"], again["duplicate"], again["ignored"], again["rejected"]) == (0, 0, 0, 0), again
            tail = soma.json("consume", name, "--until-end", "--from", "-5")
            assert (tail["read"], tail["redelivered"]) == (5, 5)
        assert journal_rows(system) == journal
        assert read_letters(system.adapters.log) == letters
        check_projections(system)


def test_leaving_events_out_is_refused(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 20)
        soma.json("consume", "kv", "--max-events", "5")
        for offset in ("end", "6", "-1"):
            refused = soma.run("consume", "kv", "--from", offset, "--until-end")
            assert refused.returncode == 2
            assert "events would be left out" in refused.stderr
        assert kv_position(system) == 5
        assert soma.json("consume", "kv", "--from", "stored", "--until-end")["read"] == 15


def test_log_lines_tell_progress_where_stderr_is_no_terminal(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 3000)
        soma.settings = {"SOMA_WORKER__LOG_INTERVAL_S": "0.01"}
        worker = soma.start("consume", "kv", "--batch-size", "20")
        wait_until(lambda: kv_position(system) == 3000, "the end", worker.process)
        assert worker.terminated() == 0
    stamped = [line for line in worker.stderr.splitlines() if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ kv ", line)]
    assert len(stamped) >= 3, worker.stderr
    assert "\x1b" not in worker.stderr
    assert any("read" in line and "running" in line for line in stamped)


def test_a_terminal_gets_one_line_that_is_redrawn(soma: Soma) -> None:
    with soma.library() as system:
        fill(system, 50)
    shown, code = _on_a_terminal(soma, "consume", "all")
    assert code == 0
    assert "\r\x1b[K" in shown
    drawn = [line for line in shown.split("\r\x1b[K") if "kv" in line and " | " in line]
    assert "kv idle | vector idle" in drawn, shown
    assert all(len(line.splitlines()[0]) < 100 for line in drawn)
    lines = [line.rsplit("\x1b[K", 1)[-1] for line in shown.splitlines()]
    assert "soma: stopping when the batch in hand is done; SIGTERM again ends it at once" in lines
    assert "all stopped: SIGTERM" in shown


def _on_a_terminal(soma: Soma, *arguments: str) -> tuple[str, int]:
    """What the command shows on a terminal of 100 columns until it has been idle for a moment, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        command_line(arguments), cwd=ROOT, env=soma.env(TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, deadline, told = b"", time.monotonic() + PATIENCE_S, False
    try:
        while time.monotonic() < deadline:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed: the process has ended
                break
            if not told and shown.rsplit(b"\r\x1b[K", 1)[-1].count(b" idle") == 2:
                process.send_signal(signal.SIGTERM)
                told = True
        return shown.decode(), process.wait(DRAIN_S)
    finally:
        os.close(ours)
        process.kill()
        process.wait()


# --- records of foreign writers ---


def bad_records() -> dict[str, tuple[bytes | None, bytes | None, str]]:
    """Name: key, value, and the code that its letter must have."""
    one, two, big = new_id(), new_id(), new_id()
    return {
        "not JSON": (one.encode(), b"{not json", "not_json"),
        "no text": (one.encode(), b"\xff\xfe\x00", "not_json"),
        "another schema": (one.encode(), b'{"hello": "world"}', "schema"),
        "null value": (one.encode(), None, "null_value"),
        "key is not the id": (two.encode(), event(one), "key_mismatch"),
        "no key": (None, event(one), "key_mismatch"),
        "upper-case id": (one.upper().encode(), event(one.upper()), "id_not_canonical"),
        "NUL in a text": (one.encode(), event(one, payload={"text": "a\u0000b"}), ""),
        "duplicate keys": (one.encode(), event(one)[:-1] + b', "type": "deleted"}', ""),
        "NaN": (one.encode(), event(one, importance=float("nan")), ""),
        "2 MB that are no event": (big.encode(), b'["' + b"x" * 2_000_000 + b'"]', "schema"),
    }


def test_a_bad_record_costs_itself_only(soma: Soma) -> None:
    bad = bad_records()
    with soma.library() as system:
        good = fill(system, 1)
        offsets = {}
        for name, (key, value, _) in bad.items():
            offsets[append_raw(system, (key, value))] = name
            good += fill(system, 1)
        large = new_id()
        append_raw(system, (large.encode(), event(large, payload={"text": "long " * 400_000})))
        done = summaries(soma.run("consume", "all", "--until-end", "-o", "json").stdout)
        assert (done["kv"]["rejected"], done["kv"]["applied"]) == (len(bad), len(good) + 1)
        letters = {letter.source.offset: letter for letter in read_letters(system.adapters.log)}
        assert letters.keys() == offsets.keys()
        for offset, name in offsets.items():
            _check_letter(letters[offset], *bad[name])
        for id in [*good, large]:
            assert system.get(id) is not None, f"the neighbour {id} is missing"
        check_projections(system)


def _check_letter(letter: DeadLetter, key: bytes | None, value: bytes | None, code: str) -> None:
    assert (letter.source.key, letter.source.value) == (key, value)
    assert letter.worker == "kv"
    assert letter.attempts == 1
    assert letter.code == (code or letter.code)
    assert letter.message


def test_too_many_bad_records_in_a_row_stop_the_worker(soma: Soma) -> None:
    soma.settings = {"SOMA_WORKER__MAX_REJECTS_IN_A_ROW": "5"}
    with soma.library(worker__max_rejects_in_a_row=5) as system:
        first = fill(system, 3)
        append_raw(system, *[(b"k", f"bad {n}".encode()) for n in range(20)])
        last = fill(system, 3)
        for attempt in range(3):
            stopped = soma.run("consume", "kv", "--until-end", "-o", "json")
            assert stopped.returncode == 7
            assert "too_many_rejects" in stopped.stderr
            assert json.loads(stopped.stdout)["rejected"] == (5 if attempt == 0 else 0)
            assert kv_position(system) == 8, "a restart drained the log further"
            assert len(read_letters(system.adapters.log)) == 5
        both = soma.run("consume", "all", "--until-end")
        assert both.returncode == 7, both.stderr
        assert "Traceback" not in both.stderr
        forced = soma.json("consume", "kv", "--until-end", "--max-rejects", "0")
        assert (forced["rejected"], forced["applied"]) == (15, 3)
        assert len(read_letters(system.adapters.log)) == 20
        assert {memory.id for memory in system.list_memories()} == {*first, *last}
        soma.json("consume", "vector", "--until-end")
        check_projections(system)


def test_good_records_between_them_break_a_row_of_rejects(soma: Soma) -> None:
    """Also where another process applied the good ones while this worker was idle."""
    soma.settings = {"SOMA_WORKER__MAX_REJECTS_IN_A_ROW": "5", "SOMA_WORKER__POLL_INTERVAL_S": "0.3"}
    with soma.library(worker__max_rejects_in_a_row=5) as system:
        worker = soma.start("consume", "kv")
        for _ in range(6):
            append_raw(system, *[(b"k", b"bad")] * 4)
            wait_until(lambda: kv_position(system) == log_end(system), "the rejects", worker.process)
            fill(system, 1)
            system.apply_kv()
        assert worker.terminated() == 0, worker.stderr


# --- an embedder that is slow, or fails ---


def embedder_settings(url: str) -> dict[str, str]:
    return {
        "SOMA_EMBEDDER__KIND": "openai_http",
        "SOMA_EMBEDDER__URL": url,
        "SOMA_EMBEDDER__MODEL": "test-model",
        "SOMA_WORKER__BACKOFF_MAX_S": "0.5",
    }


@pytest.fixture
def embedded(soma: Soma) -> Iterator[tuple[str, MemorySystem]]:
    """An embedding server, and the library that uses it as the commands do."""
    with running_embedding_server() as url:
        soma.settings = embedder_settings(url)
        with soma.library(embedder__kind="openai_http", embedder__url=url, embedder__model="test-model") as system:
            yield url, system


class Turns(NoObserver):
    """Counts the signs of life within batches: those after the first turn, and before the batch is told."""

    def __init__(self) -> None:
        self.turns: list[int] = [0]

    def turn(self, worker: str) -> None:
        assert worker == "vector"
        self.turns[-1] += 1

    def batch(self, worker: str, tally: Tally, seconds: float, waited_s: Sequence[float]) -> None:
        self.turns.append(0)


def test_a_batch_that_the_embedder_is_slow_with_is_no_dead_worker(tmp_path: Path) -> None:
    with running_embedding_server() as url:
        embedder = EmbedderSettings(kind="openai_http", url=url, model="test-model", batch_size=2)
        with MemorySystem(Settings(data_dir=tmp_path, embedder=embedder)) as system:
            fill(system, 20)
            seen = Turns()
            system.admin.worker("vector", until_end=True, observer=seen).run()
    assert len(seen.turns) == 2, "one batch"
    assert seen.turns[0] >= 10, "a sign of life for each request to the embedder"


def test_an_embedder_that_goes_away_is_waited_for(soma: Soma) -> None:
    with running_embedding_server() as url:
        soma.settings = embedder_settings(url)
        worker = soma.start("consume", "all")
        with soma.library() as system:
            fill(system, 40, "before")
            wait_until(lambda: index_position(system) == 40, "the first memories", worker.process)
            port = int(url.rsplit(":", 1)[1])
    with soma.library() as system:  # the server has gone
        fill(system, 40, "meanwhile")
        worker.says("retrying")
        wait_until(lambda: kv_position(system) == 80, "kv, which needs no embedder", worker.process)
        assert index_position(system) == 40
        with running_embedding_server(port):
            wait_until(lambda: index_position(system) == 80, "the recovery", worker.process)
            hits = soma.json("search", "meanwhile 7", "--mode", "dense", "--limit", "1")
            assert hits["payload"] == {"text": "meanwhile 7"} if isinstance(hits, dict) else hits
            assert worker.terminated() == 0, worker.stderr
        assert read_letters(system.adapters.log) == []
        check_projections(system)
    retrying = [line for line in worker.stderr.splitlines() if "retrying" in line]
    assert all("vector" in line and "next try in" in line for line in retrying)


def test_hybrid_and_dense_search(soma: Soma, embedded: tuple[str, MemorySystem]) -> None:
    url, system = embedded
    wanted = system.store(text="the ferry to Elba leaves at noon").id
    system.store(text="copper pots need polishing")
    soma.json("consume", "all", "--until-end")
    for mode in ("dense", "hybrid", "lexical"):
        hits = json.loads(soma.run("search", "when does the ferry leave", "--mode", mode, "-o", "json").stdout)
        assert hits[0]["id"] == wanted, mode
    assert stats(url)["texts"] >= 4


def test_a_refused_text_costs_its_vector_only(soma: Soma, embedded: tuple[str, MemorySystem]) -> None:
    url, system = embedded
    control(url, refuse_containing="unspeakable")
    good = fill(system, 5)
    refused = system.store(text="an unspeakable horror in the cellar").id
    good += fill(system, 5)
    done = summaries(soma.run("consume", "all", "--until-end", "-o", "json").stdout)
    assert (done["vector"]["rejected"], done["vector"]["applied"], done["kv"]["rejected"]) == (1, 10, 0)
    [letter] = read_letters(system.adapters.log)
    assert (letter.worker, letter.source.offset) == ("vector", 5)
    assert letter.source.value is not None
    assert b"unspeakable" in letter.source.value
    assert [hit.id for hit in system.search("horror in the cellar", mode="lexical")] == [refused]
    assert {hit.id for hit in system.search("note", mode="dense", limit=20)} == set(good)
    check_projections(system)


def test_a_letter_is_written_once_however_often_the_batch_is_tried_again(soma: Soma) -> None:
    with running_embedding_server() as url, soma.library() as system:
        soma.settings = {**embedder_settings(url), "SOMA_EMBEDDER__DIMENSION": "64"}
        system.store(text="its vector does not fit", embedding=[1.0, 2.0], model_revision="test-model")
        fill(system, 2)
        control(url, fail_next=[503] * 7)
        worker = soma.start("consume", "vector")
        wait_until(lambda: index_position(system) == 3, "the recovery", worker.process)
        assert worker.terminated() == 0, worker.stderr
        assert "retrying" in worker.stderr
        assert system.adapters.log.bounds("memory.dlq")[0].end == 1
        assert [letter.code for letter in read_letters(system.adapters.log)] == ["wrong_dimension"]


def test_a_wrong_key_stops_the_worker_with_advice(soma: Soma, embedded: tuple[str, MemorySystem]) -> None:
    url, system = embedded
    control(url, require_key="right")
    fill(system, 1)
    soma.settings["SOMA_EMBEDDER__API_KEY"] = "wrong-key"
    done = soma.run("consume", "vector", "--until-end")
    assert done.returncode == 3, done.stderr
    assert "embedder" in done.stderr
    assert "wrong-key" not in done.stderr


def test_two_workers_of_a_kind_share_the_work_without_harm(soma: Soma) -> None:
    with soma.library() as system:
        workers: list[Running] = [soma.start("consume", name, "--batch-size", "20") for name in ("all", "all")]
        for _ in range(20):
            fill(system, 25)
        end = log_end(system)
        for worker in workers:
            wait_until(lambda: min(kv_position(system), index_position(system)) == end, "the end", worker.process)
        assert [worker.terminated() for worker in workers] == [0, 0]
        assert all("locked" not in worker.stderr for worker in workers)
        check_projections(system)
