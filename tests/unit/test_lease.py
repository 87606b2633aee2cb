"""The lease on the embedded index's shard: one holder at a time, handed over, let go of when idle."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.vector_index import lease as lease_module
from soma_cli.core.adapters.vector_index.lease import Lease
from soma_cli.core.errors import ServiceUnavailable

ROOT = Path(__file__).parents[2]
Make = Callable[..., Lease[object]]


class Journal:
    """What was opened and closed, and whether two were ever open at once."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.overlapped = False

    def open(self) -> object:
        self.opened += 1
        self.overlapped |= self.opened - self.closed > 1
        return object()

    def close(self, resource: object) -> None:
        self.closed += 1


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def make(tmp_path: Path, journal: Journal) -> Iterator[Make]:
    made: list[Lease[object]] = []

    def build(**options: float) -> Lease[object]:
        made.append(Lease(tmp_path / "index", journal.open, journal.close, **options))
        return made[-1]

    yield build
    for lease in made:
        lease.release()


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_uses_in_a_row_open_once(make: Make, journal: Journal) -> None:
    lease = make(idle_s=60)
    with lease.use() as first, lease.use() as nested:
        assert nested is first
    with lease.use() as second:
        assert second is first
    assert (journal.opened, journal.closed) == (1, 0)


def test_an_idle_holder_lets_go(make: Make, journal: Journal) -> None:
    lease = make(idle_s=0.1)
    with lease.use():
        time.sleep(0.3)
        assert journal.closed == 0, "a use in progress was cut off"
    assert until(lambda: journal.closed == 1)
    with lease.use():
        assert journal.opened == 2


def test_a_holder_between_operations_hands_over(make: Make, journal: Journal) -> None:
    holder, waiter = make(idle_s=60), make(idle_s=60)
    with holder.use():
        pass
    begun = time.monotonic()
    with waiter.use():
        assert time.monotonic() - begun < 2
        assert (journal.opened, journal.closed) == (2, 1)


def test_a_busy_holder_hands_over_between_operations(make: Make, journal: Journal) -> None:
    """The holder never rests, so it is the operation's end that has to let the other in."""
    holder, waiter = make(), make()
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            with holder.use():
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    waits = []
    try:
        assert until(lambda: journal.opened > 0)
        for _ in range(5):
            begun = time.monotonic()
            with waiter.use():
                waits.append(time.monotonic() - begun)
            time.sleep(0.02)
    finally:
        done.set()
        thread.join()
    assert max(waits) < 2
    assert not journal.overlapped


def test_a_contended_holder_does_some_work_between_two_openings(
    tmp_path: Path, make: Make, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening takes longer than a holder may keep others waiting, which must not count as its time."""

    def slow() -> object:
        nonlocal opened
        opened += 1
        time.sleep(0.6)
        return journal.open()

    monkeypatch.setattr(lease_module, "TENURE_S", 0.3)  # some hundred uses, if the machine is not busy
    slow_lease = Lease(tmp_path / "index", slow, journal.close)
    rival, done, uses, opened = make(), threading.Event(), 0, 0

    def work() -> None:
        while not done.is_set():
            with rival.use():
                time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while opened < 4:
            assert time.monotonic() < deadline, "nobody handed over"
            with slow_lease.use():
                uses += 1
                time.sleep(0.001)
    finally:
        done.set()
        thread.join()
        slow_lease.release()
    assert uses > 3 * opened


def test_an_operation_in_progress_is_waited_for(make: Make, journal: Journal) -> None:
    holder, waiter = make(), make(wait_s=0.2)
    with holder.use():
        with pytest.raises(ServiceUnavailable) as refused, waiter.use():
            pass
        assert refused.value.code == "index_busy"
        assert refused.value.hint
        assert journal.opened == 1


def test_threads_take_turns_on_one_resource(make: Make, journal: Journal) -> None:
    lease = make()
    inside, seen = [0], []

    def work() -> None:
        for _ in range(20):
            with lease.use():
                inside[0] += 1
                seen.append(inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}
    assert journal.opened == 1


def test_a_thread_that_waits_too_long_is_told_so(make: Make) -> None:
    lease = make(wait_s=0.1)
    codes = []

    def work() -> None:
        try:
            with lease.use():
                codes.append("entered")
        except ServiceUnavailable as error:
            codes.append(error.code)

    with lease.use():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert codes == ["index_busy"]


def test_release_closes_at_once(make: Make, journal: Journal) -> None:
    lease = make(idle_s=60)
    with lease.use(), pytest.raises(RuntimeError):
        lease.release()
    lease.release()
    assert journal.closed == 1
    lease.release()
    assert journal.closed == 1


def test_a_failed_open_does_not_keep_others_out(tmp_path: Path, make: Make) -> None:
    def fail() -> object:
        raise ValueError("broken")

    broken = Lease(tmp_path / "index", fail, lambda resource: None, idle_s=60)
    with pytest.raises(ValueError, match="broken"), broken.use():
        pass
    with make(wait_s=2).use():
        pass


def test_hold_opens_nothing_and_drop_keeps_the_lock(make: Make, journal: Journal) -> None:
    lease, other = make(), make(wait_s=0.1)
    with lease.hold():
        assert journal.opened == 0
        with lease.use():
            pass
        lease.drop()
        assert (journal.opened, journal.closed) == (1, 1)
        with pytest.raises(ServiceUnavailable), other.use():
            pass
        with lease.use():
            assert journal.opened == 2


def test_one_thread_watches_while_the_lease_is_held_and_none_after(make: Make) -> None:
    def watchers() -> int:
        return sum(thread.name == "soma-index-lease" for thread in threading.enumerate())

    lease = make(idle_s=60)
    for _ in range(10):
        lease.release()
        with lease.use():
            pass
    assert until(lambda: watchers() == 1)
    lease.release()
    assert until(lambda: watchers() == 0)


def test_kill_9_of_the_holder_frees_the_lease(tmp_path: Path, make: Make) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from soma_cli.core.adapters.vector_index.lease import Lease\n"
        "lease = Lease(Path(sys.argv[1]), object, lambda resource: None)\n"
        "with lease.use():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "index")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ServiceUnavailable), make(wait_s=0.2).use():
            pass
        holder.kill()
        holder.wait()
    with make(wait_s=2).use():
        pass
