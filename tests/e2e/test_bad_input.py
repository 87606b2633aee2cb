"""Bad input and bad surroundings: the documented exit code, a line or two on stderr, nothing appended, no traceback."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soma_cli.core.event import new_id
from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from tests.e2e.conftest import PATIENCE_S, ROOT, Soma, check_projections, command_line, log_end, wait_until

ID = "018f3b5e-1111-7000-8000-000000000000"
MOST_LINES = 3
MODEST_KB = 250_000


def check_refused(done: subprocess.CompletedProcess[str], code: int) -> None:
    assert done.returncode == code, f"exit {done.returncode}, stderr: {done.stderr}"
    assert done.stdout == ""
    assert done.stderr.strip(), "it failed without a word"
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def check_brief(done: subprocess.CompletedProcess[str]) -> None:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES, done.stderr


def appended(soma: Soma) -> int:
    """How many records the log holds; 0 where there is no log yet."""
    if not (soma.folder / "log.sqlite3").exists():
        return 0
    with soma.library() as system:
        return log_end(system)


# --- one memory ---

PAYLOADS = {
    "not an object": (b"[1, 2]", 5),
    "a bare text": (b'"hello"', 5),
    "not JSON": (b"{text: hi}", 5),
    "nothing": (b"", 5),
    "NaN": (b'{"x": NaN}', 5),
    "infinity": (b'{"x": 1e400}', 5),
    "NUL": (rb'{"text": "a\u0000b"}', 5),
    "half a surrogate": (rb'{"text": "\ud800"}', 5),
    "duplicate keys": (b'{"a": 1, "a": 2}', 5),
    "beyond 64 bits": (b'{"n": 99999999999999999999}', 5),
    "too deep": (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", 5),
    "not text": (bytes(range(128, 256)), 5),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_bad_payload(soma: Soma, name: str) -> None:
    content, code = PAYLOADS[name]
    done = soma.inline("store", "--payload", "-", stdin=content)
    check_refused(done, code)
    check_brief(done)
    assert appended(soma) == 0


OPTIONS = {
    "bad id": (["store", "--text", "x", "--id", "42"], 2),
    "bad timestamp": (["store", "--text", "x", "--timestamp", "yesterday-ish"], 5),
    "timestamp ahead": (["store", "--text", "x", "--timestamp", "2999-01-01T00:00:00Z"], 5),
    "importance 0": (["store", "--text", "x", "--importance", "0"], 5),
    "importance -1": (["store", "--text", "x", "--importance", "-1"], 5),
    "importance NaN": (["store", "--text", "x", "--importance", "nan"], 5),
    "importance no number": (["store", "--text", "x", "--importance", "high"], 2),
    "neither text nor payload": (["store"], 2),
    "both": (["store", "--text", "x", "--payload", "-"], 2),
    "missing file": (["store", "--payload", "no/such/file.json"], 2),
    "folder": (["store", "--payload", "."], 2),
    "unknown option": (["store", "--text", "x", "--colour", "red"], 2),
    "unknown command": (["remember", "x"], 2),
    "unknown worker": (["consume", "everything"], 2),
    "unknown offset": (["consume", "kv", "--from", "tomorrow"], 2),
    "offset behind the end": (["consume", "kv", "--from", "99"], 2),
    "limit 0": (["list", "--limit", "0"], 2),
    "limit beyond 64 bits": (["list", "--limit", "9223372036854775808"], 2),
    "a batch beyond all": (["consume", "kv", "--until-end", "--batch-size", "9223372036854775808"], 2),
    "more events than there can be": (["consume", "kv", "--until-end", "--max-events", "9223372036854775808"], 2),
    "a pause of millennia": (["lag", "--watch", "--count", "2", "--interval", "100000000000s"], 2),
    "importance NaN in a search": (["search", "x", "--min-importance", "nan"], 2),
    "importance infinite in a search": (["search", "x", "--min-importance=-inf"], 2),
    "an embedding without end": (["store", "--text", "x", "--embedding", "/dev/zero"], 5),
    "not UTF-8": (["search", "\udcff"], 2),
    "not UTF-8 in a text": (["store", "--text", "\udcff"], 2),
    "not UTF-8 before the command": (["--config", "\udcff", "list"], 2),
    "get a bad id": (["get", "42"], 2),
    "get what is not there": (["get", ID], 6),
    "history of what is not there": (["history", ID], 6),
    "update what is not there": (["update", ID, "--text", "x"], 6),
    "delete what is not there": (["delete", ID], 6),
    "search for nothing": (["search", ""], 2),
    "dense search without embedder": (["search", "x", "--mode", "dense"], 2),
    "produce a missing file": (["produce", "no/such/file.jsonl"], 2),
    "produce a folder": (["produce", "."], 2),
    "produce with a bad key": (["produce", "-", "--key", "name"], 2),
    "missing settings file": (["--config", "no/such/file.yaml", "list"], 3),
    "unknown profile": (["--profile", "moon", "list"], 3),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bad_option(soma: Soma, name: str) -> None:
    arguments, code = OPTIONS[name]
    done = soma.inline(*arguments)
    check_refused(done, code)
    assert appended(soma) == 0


def test_an_unknown_setting_names_the_nearest(soma: Soma) -> None:
    done = soma.inline("list", env={"SOMA_WORKER__BATCHSIZE": "3"})
    check_refused(done, 3)
    assert "SOMA_WORKER__BATCH_SIZE" in done.stderr


def test_an_embedding_that_does_not_fit(soma: Soma, tmp_path: Path) -> None:
    vector = tmp_path / "vector.json"
    vector.write_text("[0.1, 0.2, 0.3]")
    soma.json("store", "--text", "first", "--embedding", str(vector))
    soma.json("consume", "all", "--until-end")
    vector.write_text("[0.1, 0.2]")
    done = soma.run("store", "--text", "second", "--embedding", str(vector))
    check_refused(done, 5)
    check_brief(done)
    for bad in ("[]", "[NaN]", "[1e39]", '["1"]', "{}"):
        vector.write_text(bad)
        check_refused(soma.inline("store", "--text", "third", "--embedding", str(vector)), 5)
    check_refused(soma.inline("search", "x", "--embedding", str(vector)), 5)
    assert appended(soma) == 1


def test_errors_as_json_are_one_object_on_stderr(soma: Soma) -> None:
    for arguments, code in (
        (["store", "--text", "x", "--importance", "0"], 5),
        (["get", ID], 6),
        (["get", "42"], 2),
        (["consume", "kv", "--from", "99"], 2),
        (["--profile", "moon", "list"], 3),
    ):
        done = soma.run(*arguments, "-o", "json")
        check_refused(done, code)
        error = json.loads(done.stderr)["error"]
        assert error.keys() >= {"code", "message", "hint", "details"}
        assert error["code"]
        assert error["message"]


def test_a_file_of_50_mb_is_refused_without_reading_it_all(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as out:
        out.write(b'{"text": "')
        for _ in range(50):
            out.write(b"x" * 1_000_000)
        out.write(b'"}')
    for arguments in (["store", "--payload", str(file)], ["produce", str(file)]):
        done, peak_kb = _measured(soma, *arguments)
        assert done.returncode == 5, done.stderr
        assert "Traceback" not in done.stderr
        assert peak_kb < MODEST_KB, f"{arguments[0]} took {peak_kb:,} KB"
    assert appended(soma) == 0


def _measured(soma: Soma, *arguments: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """The command's result, and the most memory that it held, in KB."""
    script = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *command_line(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=soma.env(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done, int(done.stdout.splitlines()[-1])


# --- many memories ---


def test_bad_lines_cost_themselves_only_and_atomic_appends_none(soma: Soma) -> None:
    bad = [content for content, _ in PAYLOADS.values() if content]
    lines = b"\n".join([b'{"payload": {"n": 1}}', *bad, b'{"payload": {"n": 2}}'])
    done = soma.run("produce", "-", "--atomic", "-o", "json", stdin=lines)
    assert done.returncode == 5
    assert json.loads(done.stdout)["accepted"] == 0
    assert appended(soma) == 0
    done = soma.run("produce", "-", "-o", "json", stdin=lines)
    assert done.returncode == 5
    result = json.loads(done.stdout)
    assert (result["accepted"], result["rejected"]) == (2, len(bad))
    assert [reject["line"] for reject in result["rejects"]] == list(range(2, len(bad) + 2))
    assert json.loads(done.stderr)["error"]["code"] == "lines_rejected"
    assert appended(soma) == 2


def test_interrupted_while_reading_standard_input(soma: Soma) -> None:
    """What was appended before stays whole, and the exit code tells."""
    process = subprocess.Popen(
        command_line(("produce", "-", "--key", "/payload/n")), cwd=ROOT, env=soma.env(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    lines = b"".join(b'{"payload": {"n": %d}}\n' % n for n in range(1200))
    process.stdin.write(lines)
    process.stdin.flush()
    wait_until(lambda: appended(soma) >= 500, "the first lines", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"Traceback" not in error
    there = appended(soma)
    again = soma.json("produce", "-", "--key", "/payload/n", stdin=lines)
    assert (again["duplicates"], again["appended"]) == (there, 1200 - there)


@pytest.mark.parametrize("reader", ["head -1", "head -0"])
def test_a_closed_pipe_is_no_failure(soma: Soma, reader: str) -> None:
    id = soma.json("store", "--text", "x" * 2000)["id"]
    with soma.library() as system:
        for n in range(150):
            system.update(id, text=f"{n} " + "x" * 2000)
    for command in (f"history {id}", f"history {id} -o json", "replay -o jsonl", "list"):
        script = f"{sys.executable} -m soma_cli {command} | {reader}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=soma.env(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert done.stderr == "", command


# --- a bad data folder ---


@pytest.fixture
def filled(soma: Soma) -> Soma:
    for n in range(3):
        soma.json("store", "--text", f"memory {n}")
    soma.json("consume", "all", "--until-end")
    return soma


READERS = (["list"], ["search", "memory"], ["stats"], ["consume", "all", "--until-end"])


def test_garbage_in_the_log_or_the_marker(filled: Soma) -> None:
    for name in ("log.sqlite3", "soma.json"):
        good = (filled.folder / name).read_bytes()
        (filled.folder / name).write_bytes(b"garbage " * 1000)
        for arguments in [*READERS, ["store", "--text", "x"]]:
            done = filled.inline(*arguments)
            assert done.returncode == 3, (name, arguments, done.stderr)
            assert "Traceback" not in done.stderr
            assert "corrupt" in done.stderr or "not readable" in done.stderr
        (filled.folder / name).write_bytes(good)
    assert len(json.loads(filled.run("list", "-o", "json").stdout)) == 3


def test_garbage_in_the_store_does_not_keep_from_storing(filled: Soma) -> None:
    (filled.folder / "store.sqlite3").write_bytes(b"garbage " * 1000)
    for arguments in READERS:
        done = filled.inline(*arguments)
        assert done.returncode == 3, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert "store.sqlite3 is corrupt" in done.stderr


def test_garbage_in_the_index_costs_search_only(filled: Soma) -> None:
    for file in sorted((filled.folder / "index").rglob("*")):
        if file.is_file() and file.suffix != ".lock":
            file.write_bytes(b"garbage " * 100)
    for arguments, code in ((["search", "memory"], 3), (["consume", "vector", "--from", "0", "--until-end"], 3),
                            (["list"], 0), (["store", "--text", "x"], 0)):  # fmt: skip
        done = filled.run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert "panicked" not in done.stderr
    rebuilt = filled.run("replay", "--into", "vector", "--execute", "--yes")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert len(json.loads(filled.run("search", "memory", "-o", "json").stdout)) == 3


def test_a_newer_folder_is_left_alone(filled: Soma) -> None:
    marker = filled.folder / "soma.json"
    marker.write_text('{"format": 99}')
    for arguments in [*READERS, ["store", "--text", "x"]]:
        done = filled.run(*arguments)
        assert done.returncode == 3
        assert "upgrade soma" in done.stderr
    assert marker.read_text() == '{"format": 99}'


def test_a_folder_of_someone_elses(soma: Soma) -> None:
    soma.folder.mkdir()
    (soma.folder / "thesis.tex").write_text("do not touch")
    done = soma.run("store", "--text", "x")
    check_refused(done, 3)
    assert [path.name for path in soma.folder.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


def test_a_data_folder_that_is_a_file(soma: Soma) -> None:
    soma.folder.write_text("a file")
    check_refused(soma.run("store", "--text", "x"), 3)
    assert soma.folder.read_text() == "a file"


def test_a_data_folder_is_refused_alike_however_it_is_named(soma: Soma, tmp_path: Path) -> None:
    """A file; and a folder that may not be read, for which root gives up the right to read everything."""
    named, locked = tmp_path / "named", tmp_path / "locked"
    named.write_text("a file")
    locked.mkdir(mode=0o000)
    mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if mortal and shutil.which("setpriv") is None:
        pytest.skip("root may read everything here")
    for folder, why in ((named, "Not a directory"), (locked, "Permission denied")):
        for words, env in ((["--data-dir", str(folder)], {}), ([], {"SOMA_DATA_DIR": str(folder)})):
            command = [*mortal, *command_line((*words, "list"))]
            done = subprocess.run(command, cwd=ROOT, env=soma.env(**env), capture_output=True, text=True, check=False)
            check_refused(done, 3)
            check_brief(done)
            assert f"the data folder {folder} cannot be used: {why}" in done.stderr
    locked.chmod(0o700)


def test_a_read_only_folder(soma: Soma, tmp_path: Path) -> None:
    """A file system mounted read-only where root may mount; for others, files without the right to write."""
    disk = tmp_path / "disk"
    disk.mkdir()
    is_root = os.geteuid() == 0
    if is_root and not _mount(disk):
        pytest.skip("root may write anywhere, and cannot mount a file system here")
    soma.folder = disk / "data"
    try:
        soma.json("store", "--text", "memory")
        if is_root:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        else:
            _forbid_writing(soma.folder)
        for arguments in (["store", "--text", "x"], ["consume", "all", "--until-end"]):
            done = soma.run(*arguments)
            assert done.returncode == 3, (arguments, done.stderr)
            assert "Traceback" not in done.stderr
            assert "writable" in done.stderr
    finally:
        if is_root:
            subprocess.run(["umount", str(disk)], check=True)


def _forbid_writing(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_a_full_disk(soma: Soma, tmp_path: Path) -> None:
    """A file system of a few megabytes where mounting is allowed; elsewhere a limit on the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and _mount(disk)
    soma.folder = disk / "data"
    try:
        soma.json("store", "--text", "the first")
        line = json.dumps({"payload": {"text": "word " * 1000}}).encode()
        limit = None if mounted else (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)))
        full = subprocess.run(
            command_line(("produce", "-")), cwd=ROOT, env=soma.env(), input=b"\n".join([line] * 20_000),
            capture_output=True, preexec_fn=limit, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert full.returncode == 4, full.stderr
        assert b"no space left" in full.stderr
        assert b"Traceback" not in full.stderr
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        assert soma.json("store", "--text", "the last")["position"]
        assert soma.run("consume", "all", "--until-end").returncode == 0
        with soma.library() as system:
            check_projections(system)
            ids = [record.key for record in system.adapters.log.scan(EVENTS_TOPIC, 0, 0, log_end(system))]
            assert len(ids) == len(set(ids)) >= 2
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_without_room_for_the_index(soma: Soma, tmp_path: Path) -> None:
    """The engine writes through mapped files: without room for them the system would end the process (SIGBUS)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not _mount(disk):
        pytest.skip("a small file system cannot be mounted here")
    soma.folder = disk / "data"
    try:
        id = soma.json("store", "--text", "the first")["id"]
        for _ in range(2):
            search = soma.run("search", "first")
            assert (search.returncode, search.stdout) == (4, "")
            assert "are free for the search index" in search.stderr
        assert list((soma.folder / "index").glob("g-*")) == [], "nothing is left behind at every try"
        assert soma.json("get", id)["payload"] == {"text": "the first"}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_new_ids_are_accepted_as_they_are_made(soma: Soma) -> None:
    """The counterpart of the refusals above: what soma makes itself is good."""
    id = new_id()
    assert soma.json("store", "--text", "x", "--id", id)["id"] == id


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--limit", "0", "-o", "json"],
        ["get", "-o", "jsonl"],
        ["list", "--nope", "--output=json"],
        ["--nope", "list", "-ojson"],
        ["get", "\udcff", "-o", "json"],
    ],
    ids=["out of range", "missing argument", "unknown option", "unknown before the command", "not UTF-8"],
)
def test_a_command_that_cannot_be_understood_is_an_error_object_where_json_is_asked_for(
    soma: Soma, words: list[str]
) -> None:
    done = soma.run(*words)
    check_refused(done, 2)
    assert json.loads(done.stderr)["error"]["code"] == "usage"


def test_reads_answer_with_a_warning_while_bad_records_stop_kv(soma: Soma) -> None:
    with soma.library() as system:
        before = system.store(text="before the storm").id
        limit = system.settings.worker.max_rejects_in_a_row
        system.adapters.log.append([NewRecord(EVENTS_TOPIC, b"k", b"not json") for _ in range(limit + 2)])
        system.store(text="behind the storm")
    for words in (["get", before], ["list"], ["search", "storm"], ["stats"], ["history", before]):
        done = soma.run(*words)
        assert done.returncode == 0, done.stderr
        assert "not up to date" in done.stderr
        assert "behind the storm" not in done.stdout
    assert len(json.loads(soma.run("dlq", "list", "-o", "json").stdout)) == limit
    assert soma.run("consume", "kv", "--until-end").returncode == 7
    assert soma.run("consume", "kv", "--until-end", "--max-rejects", "0").returncode == 0
    assert "behind the storm" in soma.run("list").stdout
