"""Signals of a worker, in a process of their own: the first one drains, its echo is nothing, a later one ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WORKER = """
import threading, time, types, sys
from soma_cli.commands import stopping
from soma_cli.commands.stopping import stopped_by_signals
from soma_cli.commands.worker_status import StatusLine
worker = types.SimpleNamespace(stop=threading.Event())
stopping._TELL_WITHIN_S = 30
stopping._SAME_SIGNAL_S = float(sys.argv[3])
with stopped_by_signals([worker], threading.Event(), float(sys.argv[1]), StatusLine(5.0)) as why:
    print("ready", flush=True)
    worker.stop.wait()
    print("draining", flush=True)
    time.sleep(float(sys.argv[2])) if float(sys.argv[2]) else sys.stdin.readline()
print(why(), flush=True)
"""


@contextmanager
def worker(drain_timeout_s: float, batch_s: float, echo_s: float = 1.0) -> Iterator[subprocess.Popen[str]]:
    """A batch of no seconds ends with a line on stdin."""
    command = [sys.executable, "-c", WORKER, str(drain_timeout_s), str(batch_s), str(echo_s)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("echo", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_twice_at_once_is_one(echo: signal.Signals) -> None:
    with worker(60, 0, echo_s=30) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "draining\n"
        process.send_signal(echo)
        output, errors = process.communicate("the batch is done\n", timeout=20)
    assert (process.returncode, output, errors) == (0, "SIGTERM\n", "")


def test_a_later_one_says_so_and_ends_it() -> None:
    with worker(20, 60) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "draining\n"
        time.sleep(1.2)  # what tells it from an echo is the time
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (
        130,
        "soma: SIGINT again: leaving the batch in hand, it will be done again\n",
    )


def test_a_batch_that_does_not_end_is_left() -> None:
    with worker(0.1, 60) as process:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert errors == "soma: the batch in hand did not end within 0.1 s; leaving it, it will be done again\n"
