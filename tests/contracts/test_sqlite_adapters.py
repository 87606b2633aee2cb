"""What the embedded adapters promise beyond the ports: their files, migrations, and what they say of a bad disk."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import soma_cli.core.adapters as adapters
from soma_cli.core.adapters.data_folder import open_data_folder
from soma_cli.core.adapters.named_queries import named_queries
from soma_cli.core.errors import ConfigurationError, DataFolderError, OutOfSpace, ValueRefused
from soma_cli.core.instants import now_us
from soma_cli.core.ports import Access, EventLog, MemoryStore
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.system import create_memory_system
from tests.contracts.adapters import sqlite_log, sqlite_store
from tests.contracts.events import TOPIC_ID, batch, event_value, everything, new_record, record, uid
from tests.contracts.processes import output, start

SQL = Path(adapters.__file__).parent
LOG_MIGRATIONS = SQL / "event_log" / "sql" / "migrations"
STORE_MIGRATIONS = SQL / "memory_store" / "sql" / "sqlite" / "migrations"
ACCESS_MIGRATIONS = SQL / "memory_store" / "sql" / "sqlite" / "access_migrations"


@contextmanager
def log_at(place: Path) -> Iterator[EventLog]:
    with closing(sqlite_log(place)) as log:
        yield log


@contextmanager
def store_at(place: Path) -> Iterator[MemoryStore]:
    with closing(sqlite_store(place)) as store:
        yield store


def filled(place: Path) -> None:
    """A folder whose log and store hold some of everything."""
    with log_at(place) as log, store_at(place) as store:
        log.append([new_record(number, number) for number in range(5)])
        store.register_topic(EVENTS_TOPIC, TOPIC_ID)
        store.apply(batch(record(0, 1), record(1, 2, namespace="n"), record(2, 1, 0)))
        store.record_access([uid(1)], 100)


def execute(file: Path, *statements: str) -> None:
    """Edit a database by hand, behind soma's back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# --- tampered tables ---------------------------------------------------------------------------------------------

TAMPERED = {
    "a row was deleted": ("DELETE FROM memories WHERE id = '{1}'", (1, 0, 0, 0)),
    "a row was invented": (
        "INSERT INTO memories SELECT '{9}', namespace, payload, 1, 2, 3, 5, 'x', NULL, deleted FROM memories LIMIT 1",
        (0, 1, 0, 0),
    ),
    "a payload was changed": ("UPDATE memories SET payload = '{{}}' WHERE id = '{1}'", (0, 0, 1, 0)),
    "importance was changed": ("UPDATE memories SET importance = 1.0000000000000002 WHERE id = '{1}'", (0, 0, 1, 0)),
    "a model appeared": ("UPDATE memories SET model_revision = 'm' WHERE id = '{1}'", (0, 0, 1, 0)),
    "a memory was buried": ("UPDATE memories SET deleted = 1 WHERE id = '{1}'", (0, 0, 1, 0)),
    "a version was changed": ("UPDATE memories SET version = 7 WHERE id = '{1}'", (0, 0, 1, 0)),
    "a time was changed": ("UPDATE memories SET created_at = created_at + 1 WHERE id = '{1}'", (0, 0, 1, 0)),
    "the journal lacks a row": ("DELETE FROM memory_events WHERE seq = 1", (0, 0, 0, 1)),
    "the journal has a row too many": (
        "INSERT INTO memory_events SELECT 99, id, 'x', type, 1, 2, outcome, note, event FROM memory_events LIMIT 1",
        (0, 0, 0, 1),
    ),
    "an outcome was changed": ("UPDATE memory_events SET outcome = 'rejected' WHERE seq = 1", (0, 0, 0, 1)),
    "an event was changed": ("UPDATE memory_events SET event = replace(event, '1', '2') WHERE seq = 1", (0, 0, 0, 1)),
    "an append time was changed": ("UPDATE memory_events SET appended_at = 1 WHERE seq = 1", (0, 0, 0, 1)),
    "an id was changed": ("UPDATE memory_events SET id = '{9}' WHERE seq = 1", (0, 0, 0, 1)),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_compare_finds_what_was_tampered_with(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    statement, expected = TAMPERED[name]
    execute(tmp_path / "store.sqlite3", statement.format(*(uid(number) for number in range(10))))
    with store_at(tmp_path) as store:
        shadow = store.shadow(TOPIC_ID)
        shadow.apply(batch(record(0, 1), record(1, 2, namespace="n"), record(2, 1, 0)))
        found = shadow.compare(lambda positions: None)
        assert (found.missing, found.extra, found.different, found.journal) == expected
        shadow.swap(lambda positions: None)
        assert [state.id for state in store.scan_states(deleted=True)] == [uid(1), uid(2)]
        healed = store.shadow(TOPIC_ID)
        healed.apply(batch(record(0, 1), record(1, 2, namespace="n"), record(2, 1, 0)))
        assert healed.compare(lambda positions: None).total == 0
        healed.discard()


def test_a_swap_leaves_no_tables_behind(tmp_path: Path) -> None:
    filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection, store_at(tmp_path) as store:
        query = "SELECT type, tbl_name, count(*) FROM sqlite_schema GROUP BY type, tbl_name ORDER BY 1, 2"
        before = connection.execute(query).fetchall()
        for _ in range(2):
            shadow = store.shadow(TOPIC_ID)
            shadow.apply(batch(record(0, 1)))
            shadow.swap(lambda positions: None)
            assert connection.execute(query).fetchall() == before


def test_what_a_dead_rebuild_left_is_dropped_first(tmp_path: Path) -> None:
    filled(tmp_path)
    file, left = tmp_path / "store.sqlite3", {"shadow_0a1b_memories", "old_shadow_0a1b_positions"}
    execute(file, *(f"CREATE TABLE {name} (id)" for name in left))
    with closing(sqlite3.connect(file)) as connection, store_at(tmp_path) as store:
        shadow = store.shadow(TOPIC_ID)
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert left & names == set()
        assert {"memories", "positions", "memory_events", "epochs"} < names
        shadow.discard()


def test_append_times_never_fall_when_the_clock_does(tmp_path: Path) -> None:
    with log_at(tmp_path) as log:
        log.append([new_record(1, 1)])
        ahead = now_us() + 3600 * 1_000_000
        execute(tmp_path / "log.sqlite3", f"UPDATE records SET appended_at = {ahead}")
        assert log.append([new_record(1, 2)])[0].appended_at == ahead
        assert [item.appended_at for item in everything(log)] == [ahead, ahead]


def test_threads_that_ended_leave_no_connection_open(tmp_path: Path) -> None:
    def open_files() -> int:
        return len([path for path in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(path)])

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not show a process's open files")
    with log_at(tmp_path) as log:
        log.append([new_record(1, 1)])
        before = open_files()
        assert before > 0
        for _ in range(20):
            thread = threading.Thread(target=everything, args=(log,))
            thread.start()
            thread.join()
        # SQLite keeps a descriptor for the next connection while others hold locks on the same file.
        assert open_files() <= before + 4
    assert open_files() == 0


def test_a_file_that_was_refused_is_not_kept_open(tmp_path: Path) -> None:
    filled(tmp_path)
    execute(tmp_path / "log.sqlite3", "PRAGMA user_version = 99")
    with pytest.raises(DataFolderError) as refused:
        sqlite_log(tmp_path)
    assert refused.value.__traceback__ is not None
    execute(tmp_path / "log.sqlite3", "PRAGMA journal_mode = DELETE")


# --- migrations --------------------------------------------------------------------------------------------------


def first_version(file: Path, migrations: Path, *rows: str) -> None:
    """A file as the first version of its schema made it."""
    script = sorted(migrations.glob("*.sql"))[0].read_text(encoding="utf-8")
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"{script}\nPRAGMA user_version=1;")
    execute(file, *rows)


def version_of_schema(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_log_of_the_first_version_is_migrated_with_its_records(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    value = event_value(1, 1)
    first_version(
        tmp_path / "log.sqlite3",
        LOG_MIGRATIONS,
        f"INSERT INTO topics VALUES (1, '{EVENTS_TOPIC}', 'the-id', 5)",
        f"INSERT INTO records VALUES ({1 << 40}, 100, X'{uid(1).encode().hex()}', X'{value.hex()}', NULL)",
    )
    with log_at(tmp_path) as log:
        assert log.topic_id(EVENTS_TOPIC) == "the-id"
        assert [item.value for item in everything(log)] == [value]
        assert log.append([new_record(1, 2)])[0].position.offset == 1
        log.consumer("g", EVENTS_TOPIC, lambda partition: 0).close()
        assert log.committed("g", EVENTS_TOPIC) == {}
    assert version_of_schema(tmp_path / "log.sqlite3") == len(list(LOG_MIGRATIONS.glob("*.sql")))


def test_a_store_of_the_first_version_is_migrated_with_its_rows(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    first_version(
        tmp_path / "store.sqlite3",
        STORE_MIGRATIONS,
        f"INSERT INTO epochs VALUES ('{TOPIC_ID}', '{EVENTS_TOPIC}', 0, 5)",
        f"INSERT INTO positions VALUES ('{TOPIC_ID}', 0, 1)",
        f"INSERT INTO memories VALUES ('{uid(1)}', 'n', '{{\"a\":1}}', 2.0, 7, 8, 0, 'e', NULL, 0)",
        f"INSERT INTO memory_events VALUES (0, '{uid(1)}', 'e', 'created', 7, 9, 'applied', '', '{{}}')",
    )
    first_version(tmp_path / "access.sqlite3", ACCESS_MIGRATIONS, f"INSERT INTO access VALUES ('{uid(1)}', 3, 4)")
    with store_at(tmp_path) as store:
        assert store.register_topic(EVENTS_TOPIC, TOPIC_ID) == 0
        assert store.positions(TOPIC_ID) == {0: 1}
        assert store.list_states(namespace="n", since=None, limit=5)[0].payload == {"a": 1}
        assert [entry.event_id for entry in store.history(uid(1))] == ["e"]
        assert store.access([uid(1)]) == {uid(1): Access(3, 4)}
        assert store.apply(batch(record(1, 1))).positions == {0: 2}
    assert version_of_schema(tmp_path / "store.sqlite3") == len(list(STORE_MIGRATIONS.glob("*.sql")))


MIGRATE = """
log, store = LOGS["sqlite"](PLACE), STORES["sqlite"](PLACE)
print(len(everything(log)), store.stats()["memories"])
"""


def test_processes_that_migrate_at_once(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    first_version(tmp_path / "log.sqlite3", LOG_MIGRATIONS)
    first_version(tmp_path / "store.sqlite3", STORE_MIGRATIONS)
    processes = [start(MIGRATE, "sqlite", tmp_path) for _ in range(4)]
    assert [output(process) for process in processes] == ["0 0\n"] * 4


def test_who_migrates_waits_for_who_sets_the_folder_up(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path)
    first_version(folder.log, LOG_MIGRATIONS)
    with ThreadPoolExecutor(1) as pool:
        with folder.setup_lock():
            opening = pool.submit(sqlite_log, tmp_path)
            with pytest.raises(TimeoutError):
                opening.result(timeout=0.3)
            assert version_of_schema(folder.log) == 1
        opening.result().close()
    assert version_of_schema(folder.log) > 1


@pytest.mark.parametrize("migrations", [LOG_MIGRATIONS, STORE_MIGRATIONS, ACCESS_MIGRATIONS])
def test_migrations_are_numbered_without_a_gap(migrations: Path) -> None:
    numbers = [int(path.name.split("_")[0]) for path in sorted(migrations.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_named_queries_have_names_of_their_own() -> None:
    for file in SQL.rglob("*.sql"):
        names = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("-- name:")]
        assert len(named_queries(file)) == len(set(names)) == len(names)


# --- folders that soma refuses -----------------------------------------------------------------------------------

FILES = {"log.sqlite3": sqlite_log, "store.sqlite3": sqlite_store, "access.sqlite3": sqlite_store}


@pytest.mark.parametrize("file", FILES)
def test_a_newer_schema_is_refused(tmp_path: Path, file: str) -> None:
    filled(tmp_path)
    execute(tmp_path / file, "PRAGMA user_version = 99")
    with pytest.raises(DataFolderError, match=f"{file} has schema version 99") as refused:
        FILES[file](tmp_path)
    assert refused.value.code == "data_folder_newer"
    assert "upgrade" in refused.value.hint
    assert version_of_schema(tmp_path / file) == 99


@pytest.mark.parametrize(
    ("marker", "code"),
    [
        (json.dumps({"format": 2}), "data_folder_newer"),
        (json.dumps({"format": 0}), "data_folder_corrupt"),
        (json.dumps({"format": "1"}), "data_folder_corrupt"),
        (json.dumps({"format": True}), "data_folder_corrupt"),
        (json.dumps({"form": 1}), "data_folder_corrupt"),
        ("[1]", "data_folder_corrupt"),
        ("", "data_folder_corrupt"),
        ('{"format":', "data_folder_corrupt"),
        ("\x80\x04", "data_folder_corrupt"),
    ],
)
def test_a_marker_of_another_format_is_refused(tmp_path: Path, marker: str, code: str) -> None:
    filled(tmp_path)
    (tmp_path / "soma.json").write_text(marker, encoding="latin-1")
    with pytest.raises(DataFolderError) as refused:
        sqlite_log(tmp_path)
    assert refused.value.code == code
    assert str(tmp_path) in refused.value.message
    assert refused.value.hint


def test_a_folder_without_its_marker_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "soma.json").unlink()
    with pytest.raises(DataFolderError, match=r"soma\.json is missing"):
        sqlite_log(tmp_path)


def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataFolderError, match=r"letter\.txt") as refused:
        sqlite_store(tmp_path)
    assert refused.value.code == "data_folder_foreign"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_first_start_that_was_interrupted_does_no_harm(tmp_path: Path) -> None:
    for left in (".setup.lock", ".soma.json.4711.tmp"):
        (tmp_path / left).write_text("")
    with log_at(tmp_path) as log:
        assert everything(log) == []


def test_an_empty_folder_becomes_somas(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    with log_at(place):
        assert json.loads((place / "soma.json").read_bytes())["format"] == 1
    assert place.stat().st_mode & 0o777 == 0o700
    with log_at(place) as log:
        assert everything(log) == []


@pytest.mark.parametrize("file", FILES)
def test_a_corrupt_file_is_told_so(tmp_path: Path, file: str) -> None:
    filled(tmp_path)
    (tmp_path / file).write_bytes(b"this is no database, whatever its name says" * 200)
    with pytest.raises(DataFolderError, match=f"{file} is corrupt") as refused:
        FILES[file](tmp_path)
    assert refused.value.code == "data_folder_corrupt"


def test_a_file_with_a_torn_page_is_told_so(tmp_path: Path) -> None:
    with log_at(tmp_path) as log:
        log.append([new_record(number, number) for number in range(500)])
    file = tmp_path / "log.sqlite3"
    execute(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    for at in range(3 * 4096, len(content), 4096):
        content[at : at + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(DataFolderError, match="corrupt"), log_at(tmp_path) as log:
        everything(log)


def test_a_path_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="cannot be used") as refused:
            sqlite_log(place)
        assert refused.value.code == "data_folder_unusable"


# --- disks -------------------------------------------------------------------------------------------------------


def mount(*arguments: str) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    filled(tmp_path / "read-only")
    with mounted_read_only(tmp_path / "read-only") as place:
        yield place


@contextmanager
def mounted_read_only(place: Path) -> Iterator[Path]:
    """The same folder, mounted over itself: root writes through permissions, but not through this."""
    mount("--bind", str(place), str(place))
    try:
        mount("-o", "remount,ro,bind", str(place))
        yield place
    finally:
        unmount(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=3m", "soma-test", str(place))
    yield place
    unmount(place)


def test_a_read_only_folder_cannot_be_written(read_only: Path) -> None:
    with pytest.raises(ConfigurationError) as refused, log_at(read_only) as log:
        log.append([new_record(1, 1)])
    assert refused.value.code == "data_folder_unusable"
    assert "--data-dir" in refused.value.hint


def test_a_read_only_folder_takes_no_worker(read_only: Path) -> None:
    with pytest.raises(ConfigurationError) as refused, log_at(read_only) as log:
        log.consumer("g", EVENTS_TOPIC, lambda partition: 0)
    assert refused.value.code == "data_folder_unusable"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("file", ["log.sqlite3", "store.sqlite3"])
def test_a_read_only_folder_cannot_be_completed(tmp_path: Path, file: str, old: bool) -> None:
    """The folder is soma's, but one of its files has yet to be made or migrated."""
    filled(tmp_path / "data")
    for leftover in (tmp_path / "data").glob(f"{file}*"):
        leftover.unlink()
    if old:
        first_version(tmp_path / "data" / file, LOG_MIGRATIONS if file == "log.sqlite3" else STORE_MIGRATIONS)
    with mounted_read_only(tmp_path / "data") as place, pytest.raises(ConfigurationError) as refused:
        FILES[file](place)
    assert refused.value.code == "data_folder_unusable"


def test_a_new_folder_on_a_read_only_disk(read_only: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used") as refused:
        sqlite_log(read_only / "new")
    assert refused.value.code == "data_folder_unusable"


TWENTY_LONG = {"text": "x" * 2000}


def append_for_ever(log: EventLog, acknowledged: list[int]) -> None:
    while True:
        appended = log.append([new_record(1, number, payload=TWENTY_LONG) for number in range(20)])
        acknowledged += [receipt.position.offset for receipt in appended]


def apply_for_ever(store: MemoryStore, passed: list[int]) -> None:
    while True:
        at = len(passed)
        store.apply(batch(*(record(at + more, more, payload=TWENTY_LONG) for more in range(20))))
        passed += range(at, at + 20)


def grow(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=30m", str(place)], check=True)


def test_a_full_disk_loses_nothing_of_the_log(small_disk: Path) -> None:
    place = small_disk / "data"
    kept: list[int] = []
    with log_at(place) as log:
        with pytest.raises(OutOfSpace, match="no space left") as refused:
            append_for_ever(log, kept)
        assert (refused.value.exit_code, refused.value.hint != "") == (4, True)
        assert [item.offset for item in everything(log)] == kept
    assert len(kept) >= 100
    grow(small_disk)
    with log_at(place) as log:
        assert [item.offset for item in everything(log)] == kept
        assert log.append([new_record(1, 1)])[0].position.offset == len(kept)


def test_a_full_disk_loses_nothing_of_the_store(small_disk: Path) -> None:
    place = small_disk / "data"
    passed: list[int] = []
    with store_at(place) as store:
        store.register_topic(EVENTS_TOPIC, TOPIC_ID)
        with pytest.raises(OutOfSpace):
            apply_for_ever(store, passed)
        assert store.positions(TOPIC_ID) == {0: len(passed)}
    grow(small_disk)
    with store_at(place) as store:
        assert store.positions(TOPIC_ID) == {0: len(passed)}
        assert [state.version for state in store.scan_states()] == passed[-20:]
        assert store.apply(batch(record(len(passed), 1))).positions == {0: len(passed) + 1}


def fill(file: Path) -> None:
    with file.open("wb") as ballast:
        while True:
            ballast.write(b"x" * 4096)
            ballast.flush()


def test_a_new_folder_on_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        fill(small_disk / "ballast")
    with pytest.raises(OutOfSpace):
        sqlite_log(small_disk / "data")


def test_an_integer_beyond_64_bits_is_refused(place: Path) -> None:
    with store_at(place) as store, pytest.raises(ValueRefused, match="64 bits") as caught:
        store.list_states(namespace=None, since=None, limit=2**63)
    assert caught.value.code == "integer_range"


def test_what_memories_say_is_for_their_owner_alone_also_in_a_folder_that_was_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with create_memory_system(data_dir=tmp_path) as system:
        id = system.store(text="private").id
        assert system.search("private")[0].id == id
        shared = [path.name for path in tmp_path.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert [name for name in shared if "sqlite3" in name] == []
    assert (tmp_path / "index").stat().st_mode & 0o077 == 0
