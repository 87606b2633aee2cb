"""Idempotency keys where the journal is behind the log, as it may be where workers move it on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog
from soma_cli.core.errors import IdempotencyConflict
from soma_cli.core.operations import projections
from soma_cli.core.operations.lines import LineReader
from soma_cli.core.operations.produce import BulkRun
from soma_cli.core.system import MemorySystem, create_memory_system


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemorySystem]:
    """Whose reads apply nothing."""
    monkeypatch.setattr(SqliteEventLog, "follows_itself", False)
    with create_memory_system(data_dir=tmp_path / "data") as made:
        made.admin.init()
        yield made


def produced(system: MemorySystem, *batches: list[str]) -> BulkRun:
    log, store = system.adapters.log, system.adapters.store
    reader = LineReader(system.settings.limits, None, "/payload/name")
    run = BulkRun(log, store, reader, epoch=lambda: 0, apply_kv=lambda: None)
    for texts in batches:
        run.append(list(reader.read([b'{"payload":{"name":"x","text":"%s"}}' % text.encode() for text in texts])))
    return run


def test_a_key_of_an_earlier_batch_with_other_content_is_rejected(system: MemorySystem) -> None:
    run = produced(system, ["a"], ["a", "b"], ["a"])
    assert (run.result.appended, run.result.accepted, run.result.duplicates) == (1, 3, 2)
    assert [reject.code for reject in run.reader.rejects] == ["idempotency_conflict"]


def test_a_conflict_is_told_once_kv_has_come_to_the_key(system: MemorySystem, monkeypatch: pytest.MonkeyPatch) -> None:
    first = system.store(text="a", idempotency_key="k")
    again = system.store(text="a", idempotency_key="k")
    assert (first.duplicate, again.duplicate) == (None, None), "kv has not come to it"
    monkeypatch.setattr(system, "wait", _applying(system))
    assert system.store(text="a", idempotency_key="k", wait="kv").duplicate
    system.store(text="a", idempotency_key="l")
    with pytest.raises(IdempotencyConflict, match="other content"):
        system.store(text="b", idempotency_key="l", wait="kv")


def _applying(system: MemorySystem) -> object:
    """`wait`, with a worker at work."""
    wait = system.wait

    def applied(*arguments: object) -> object:
        log, store = system.adapters.log, system.adapters.store
        projections.catch_up_kv(system.settings, log, store)
        return wait(*arguments)  # type: ignore[arg-type]

    return applied
