"""`soma doctor`: what it finds in folders that are empty, whole, damaged, replaced; and that it changes nothing."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.adapters import folder_health
from soma_cli.core.operations import doctor as operation
from soma_cli.core.record import NewRecord
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem
from soma_cli.main import app

WHOLE = {
    *("settings", "folder", "disk", "log", "store", "access", "index", "points"),
    *("clock", "dead letters", "identity", "kv", "vector", "schema", "libraries"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "data"
    with MemorySystem(Settings(data_dir=folder)) as system:
        for number in range(3):
            system.store(text=f"memory {number}")
        assert len(system.search("memory")) == 3
    return folder


@pytest.fixture
def whole(made: Path, folder: Path) -> Path:
    """A folder of three memories that every projection has passed."""
    shutil.copytree(made, folder)
    return folder


def soma(folder: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments], env=environ)


def findings(folder: Path, *arguments: str, **environ: str) -> dict[str, dict]:
    """The findings by check; the exit code must be the right one for them."""
    result = soma(folder, "doctor", "-o", "json", *arguments, **environ)
    report = json.loads(result.stdout)
    well = all(finding["status"] == "ok" for finding in report["findings"])
    assert (report["healthy"], result.exit_code) == (well, 0 if well else 7)
    if not well:
        assert json.loads(result.stderr)["error"]["code"] == "unhealthy"
        assert all(finding["hint"] for finding in report["findings"] if finding["status"] != "ok")
    return {finding["check"]: finding for finding in report["findings"]}


def unwell(found: dict[str, dict]) -> dict[str, str]:
    return {check: finding["status"] for check, finding in found.items() if finding["status"] != "ok"}


def sql(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "shard" not in path.parts}


def test_nothing_stored_yet_is_well_and_stays_nothing(folder: Path) -> None:
    found = findings(folder)
    assert found.keys() == {"settings", "folder", "disk", "schema", "libraries"}
    assert "nothing stored yet; the first `soma store` makes it" in found["folder"]["message"]
    assert not folder.exists()


def test_what_was_not_made_yet_is_well_and_is_not_made(folder: Path) -> None:
    soma(folder, "store", "--text", "one")
    before = files(folder)
    found = findings(folder)
    assert unwell(found) == {}
    assert found["index"]["message"] == "not made yet; the first search makes it"
    assert files(folder) == before


@pytest.mark.parametrize("arguments", [(), ("--deep",)])
def test_a_whole_folder_is_well_and_left_alone(whole: Path, arguments: tuple[str, ...]) -> None:
    soma(whole, "store", "--text", "one more")
    before = files(whole)
    found = findings(whole, *arguments)
    assert (unwell(found), found.keys() - {"points"}) == ({}, WHOLE - {"points"})
    for check, reader in (("kv", "read"), ("vector", "search")):
        assert re.match(r"1 event waits, the oldest for \d+ s", found[check]["message"])
        assert found[check]["message"].endswith(f"the next {reader} applies them")
    assert files(whole) - {"index/hold.lock", "index/turn.lock"} == before - {"index/hold.lock", "index/turn.lock"}


def test_points_are_compared_with_memories_at_the_same_position(whole: Path) -> None:
    assert findings(whole)["points"]["message"] == "as many as memories: 3"
    sql(whole / "store.sqlite3", "DELETE FROM memories WHERE rowid = 1")
    found = findings(whole)
    assert unwell(found) == {"points": "error"}
    assert found["points"]["message"] == "the index has 3 points for 2 memories, at the same position"
    soma(whole, "store", "--text", "one more")
    soma(whole, "list")
    assert "points" not in findings(whole)


def test_a_store_that_is_no_database_leaves_the_rest_to_be_looked_at(whole: Path) -> None:
    with (whole / "store.sqlite3").open("r+b") as file:
        file.write(b"garbage" * 100)
    found = findings(whole)
    assert unwell(found) == {"store": "error"}
    assert "is corrupt: file is not a database" in found["store"]["message"]
    assert found["log"]["message"].startswith("log.sqlite3 is whole (schema version ")
    assert "index" in found
    for path in whole.glob("store.sqlite3*"):
        path.unlink()
    assert len(json.loads(soma(whole, "list", "-o", "json").stdout)) == 3, "the hint must be true"


def test_a_damaged_page_of_the_log_is_found(whole: Path) -> None:
    sql(whole / "log.sqlite3", "PRAGMA journal_mode=DELETE")
    with (whole / "log.sqlite3").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        page = int.from_bytes(file.seek(16) and file.read(2), "big")
        file.seek(size - page)
        file.write(b"\xff" * page)
    found = findings(whole)
    assert found["log"]["status"] == "error"
    assert found["log"]["hint"].startswith("restore the log from a backup")


def test_an_index_of_the_store_that_misses_rows_is_found_with_deep(whole: Path) -> None:
    with sqlite3.connect(whole / "store.sqlite3") as connection:
        connection.execute("PRAGMA writable_schema=ON")
        definition = "CREATE INDEX memories_by_time ON memories (importance, version)"
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'memories_by_time'", (definition,))
    connection.close()
    assert unwell(findings(whole)) == {}
    found = findings(whole, "--deep")
    assert unwell(found) == {"store": "error"}
    assert "is damaged: row 1 missing from index memories_by_time; row 2" in found["store"]["message"]


def test_an_index_that_cannot_be_read_is_one_error(whole: Path) -> None:
    shutil.rmtree(next(whole.glob("index/g-*")) / "shard")
    found = findings(whole)
    assert unwell(found) == {"index": "error"}
    assert "soma replay --into vector --execute" in found["index"]["hint"]
    assert "points" not in found


def test_a_replaced_log_is_an_error(whole: Path) -> None:
    for path in whole.glob("log.sqlite3*"):
        path.unlink()
    found = findings(whole)
    assert unwell(found) == {"log": "error"}
    assert "is missing" in found["log"]["message"]
    assert soma(whole, "store", "--text", "in no log").exit_code == 3
    assert not (whole / "log.sqlite3").exists(), "a log that is gone is not silently begun anew"
    other = whole.parent / "other"
    soma(other, "store", "--text", "in another log")
    shutil.copy(other / "log.sqlite3", whole)
    found = findings(whole)
    assert unwell(found) == {"identity": "error"}
    assert "soma init --new-epoch" in found["identity"]["hint"]
    assert "kv" not in found
    soma(whole, "init", "--new-epoch")
    assert findings(whole)["identity"]["message"] == "the store was made from this log (epoch 1)"


def test_a_log_that_lost_events_is_an_error(whole: Path) -> None:
    sql(whole / "log.sqlite3", "DELETE FROM records WHERE seq & 255 = 2")
    found = findings(whole)
    assert unwell(found) == {"kv": "error", "vector": "error"}
    assert found["kv"]["message"] == "kv has passed 3, but the log ends at 2: it lost events, and new ones are left out"


def test_open_dead_letters_are_a_warning(whole: Path) -> None:
    with MemorySystem(Settings(data_dir=whole)) as system:
        system.adapters.log.append([NewRecord("memory.events", b"no id", b"not JSON")])
        system.apply_kv()
    found = findings(whole)
    assert unwell(found) == {"dead letters": "warning"}
    assert found["dead letters"]["message"].startswith("1 open, the newest for memory.events/0@3: ")


def test_a_long_backlog_is_a_warning(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "BACKLOG", 1)
    soma(whole, "store", "--text", "four")
    assert unwell(findings(whole)) == {}
    soma(whole, "store", "--text", "five")
    found = findings(whole)
    assert unwell(found) == {"kv": "warning", "vector": "warning"}
    assert "soma consume kv --until-end" in found["kv"]["hint"]


def test_an_event_that_a_worker_leaves_waiting_is_a_warning(whole: Path) -> None:
    soma(whole, "store", "--text", "four")
    with MemorySystem(Settings(data_dir=whole)) as system:
        consumer = system.adapters.log.consumer("soma-kv", "memory.events", lambda partition: 0)
        assert unwell(findings(whole)) == {}
        sql(whole / "log.sqlite3", "UPDATE records SET appended_at = appended_at - 3600000000")
        found = findings(whole)
        consumer.close()
    assert unwell(found) == {"kv": "warning"}
    assert "a worker is at it" in found["kv"]["message"]


def test_settings_that_the_index_was_not_made_with_are_a_warning(whole: Path) -> None:
    found = findings(whole, SOMA_INDEX__LANGUAGE="german")
    assert unwell(found) == {"model": "warning"}
    assert "language 'english' instead of 'german'" in found["model"]["message"]
    with MemorySystem(Settings(data_dir=whole)) as system:
        system.store(text="four", embedding=[1.0, 0.0], model_revision="m1")
        system.search("four")
    assert findings(whole)["model"]["message"] == "vectors of m1 (2 dimensions)"
    found = findings(whole, SOMA_INDEX__DIMENSION="3", SOMA_INDEX__MODEL_REVISION="m1")
    assert "dimension 2 instead of 3" in found["model"]["message"]


def test_vectors_without_a_named_model(whole: Path) -> None:
    with MemorySystem(Settings(data_dir=whole)) as system:
        system.store(text="four", embedding=[1.0, 0.0])
        system.search("four")
    assert findings(whole)["model"]["message"] == "vectors of no named model (2 dimensions)"


def test_what_dead_rebuilds_left_behind_is_a_warning(whole: Path) -> None:
    (whole / "index" / "g-dead").mkdir()
    sql(whole / "store.sqlite3", "CREATE TABLE shadow_12345678_memories (id TEXT)")
    result = soma(whole, "doctor", "-o", "json")
    messages = [row["message"] for row in json.loads(result.stdout)["findings"] if row["check"] == "leftovers"]
    assert result.exit_code == 7
    assert messages == [
        "1 tables of a rebuild of kv that died take up space",
        "what a dead rebuild left behind takes up space: g-dead",
    ]


def test_a_rebuild_that_runs_is_no_leftover(whole: Path) -> None:
    with MemorySystem(Settings(data_dir=whole)) as system:
        store, index = system.adapters.store, system.adapters.index
        shadows = [store.shadow(system.adapters.log.topic_id("memory.events")), index.shadow(index.identity())]
        assert "leftovers" not in findings(whole)
        for shadow in shadows:
            shadow.discard()


def test_an_event_from_the_future_is_a_warning(whole: Path) -> None:
    sql(whole / "log.sqlite3", "UPDATE records SET appended_at = appended_at + 3600000000")
    assert unwell(findings(whole)) == {"clock": "warning"}


@pytest.mark.parametrize(("limit", "status"), [("LOW_BYTES", "warning"), ("FULL_BYTES", "error")])
def test_a_full_disk_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, status: str) -> None:
    monkeypatch.setattr(folder_health, limit, 10**18)
    assert unwell(findings(folder)) == {"disk": status}


def test_settings_that_cannot_work_are_a_finding(folder: Path) -> None:
    found = findings(folder, SOMA_WORKER__BATCH_SIZE="none")
    assert unwell(found) == {"settings": "error"}
    assert "worker.batch_size" in found["settings"]["message"]


def test_what_this_version_does_not_have_is_a_finding(folder: Path) -> None:
    found = findings(folder, SOMA_EMBEDDER__KIND="fastembed")
    assert unwell(found) == {"embedder": "error"}
    assert "which this version of soma does not have" in found["embedder"]["message"]


def test_an_embedder_that_does_not_answer_is_a_finding(folder: Path) -> None:
    environ = {"KIND": "openai_http", "MODEL": "m1", "URL": "http://127.0.0.1:9/v1", "TIMEOUT_S": "0.5"}
    found = findings(folder, **{f"SOMA_EMBEDDER__{name}": value for name, value in environ.items()})
    assert unwell(found) == {"embedder": "error"}


@pytest.mark.parametrize("marker", [b"{", b'{"format": 99}', None])
def test_a_folder_that_soma_cannot_use_is_a_finding(whole: Path, marker: bytes | None) -> None:
    (whole / "soma.json").unlink()
    if marker is not None:
        (whole / "soma.json").write_bytes(marker)
    assert unwell(findings(whole)) == {"folder": "error"}


def test_a_folder_of_others_is_a_finding(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    assert unwell(findings(folder)) == {"folder": "error"}
    assert files(folder) == {"thesis.txt"}


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own cannot be."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


AS_SOMEBODY = """
import os, sys
from typer.testing import CliRunner
from soma_cli.main import app

doctor = ["doctor", "-o", "json"]
CliRunner().invoke(app, ["--data-dir", sys.argv[1], *doctor])  # imports what somebody else may not be able to read
if os.getuid() == 0:
    os.setuid(65534)
result = CliRunner().invoke(app, ["--data-dir", sys.argv[2], *doctor])
print(result.stdout)
sys.exit(result.exit_code)
"""


def test_a_folder_that_cannot_be_written_is_a_finding(whole: Path, open_place: Path) -> None:
    """Permissions do not bind root: where the tests run as root, the command runs as somebody else."""
    folder = open_place / "data"
    shutil.copytree(whole, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environ = {**os.environ, "XDG_CONFIG_HOME": str(open_place)}
    command = [sys.executable, "-c", AS_SOMEBODY, str(whole), str(folder)]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    assert run.returncode == 7, run.stderr
    found = {row["check"]: row for row in json.loads(run.stdout)["findings"]}
    assert str(folder) in found["permissions"]["message"]
    assert found["folder"]["status"] == found["schema"]["status"] == "ok"


def test_text_has_a_mark_a_line_and_hints_below(whole: Path) -> None:
    result = soma(whole, "doctor", SOMA_INDEX__LANGUAGE="german")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("✓ settings      profile embedded (default), ")
    at = next(number for number, line in enumerate(lines) if line.startswith("! model         the index was made"))
    assert lines[at + 1].startswith("                `soma replay --into vector --execute`")
    assert result.stderr == "soma: doctor found 1 warning\n"


def test_text_without_unicode_has_plain_marks(folder: Path) -> None:
    environ = {**os.environ, "SOMA_DATA_DIR": str(folder), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "soma_cli", "doctor"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("ok settings   profile")
