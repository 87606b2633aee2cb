"""What the embedded index adds to the port's promises: other processes, kills, power cuts, and damaged files."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex
from soma_cli.core.errors import ConfigurationError, DataFolderError, ServiceUnavailable
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, fill, first_partition, found, point, tombstone
from tests.contracts.processes import ROOT, until


@contextmanager
def process(folder: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """Run `body` in another process with `index` and `shadow_of`; it says "ready" on stdout when it likes."""
    script = (
        "import sys, time, uuid\nfrom pathlib import Path\n"
        "from soma_cli.core.ports import IndexIdentity, IndexPoint, IndexQuery\n"
        "from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex\n"
        "def point(n, version, text):\n"
        "    id = str(uuid.UUID(int=n << 64 | 7))\n"
        "    return IndexPoint(id, version, False, 'default', 1.0, 10, 20, text, None)\n"
        "index = QdrantEdgeIndex(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script + body, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def ready(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line.startswith("ready"), "the process died"
    return line.removeprefix("ready").strip()


AT_MOST_S = 10.0
"""What a busy machine may make of a wait for one batch; a search that got no turn would give up after 30 s."""
BUSY = (
    "version = 0\n"
    "while True:\n"
    "    batch = [point(n, version, f'busy word{n} of {version}') for n in range(500)]\n"
    "    index.write(batch, 'topic-1', {0: version + 1})\n"
    "    if not version: print('ready', flush=True)\n"
    "    version += 1\n"
)


def test_a_search_gets_its_turn_while_another_process_indexes(tmp_path: Path, capsys: Any) -> None:
    with process(tmp_path / "index", BUSY) as writer:
        ready(writer)
        index, took = QdrantEdgeIndex(tmp_path / "index"), []
        for _ in range(15):
            begun = time.monotonic()
            assert found(index, "busy")
            took.append(time.monotonic() - begun)
            time.sleep(0.15)
        before = index.positions(TOPIC)[0]
        index.close()
        until(lambda: index.positions(TOPIC)[0] > before)  # the indexer goes on
    with capsys.disabled():
        print(f"\nsearch against a busy indexer: median {statistics.median(took):.3f} s, worst {max(took):.3f} s")
    assert max(took) < AT_MOST_S


def test_kill_9_while_writing_leaves_no_position_ahead_of_its_points(tmp_path: Path) -> None:
    body = (
        "at = 0\n"
        "while True:\n"
        "    index.write([point(n, n, f'word{n}') for n in range(at, at + 20)], 'topic-1', {0: at + 20})\n"
        "    at += 20\n"
        "    if at == 100: print('ready', flush=True)\n"
    )
    for pause in (0.0, 0.013, 0.037):
        folder = tmp_path / str(pause)
        with process(folder, body) as writer:
            ready(writer)
            time.sleep(pause)
        index = QdrantEdgeIndex(folder)
        position = index.positions(TOPIC)[0]
        assert position >= 100
        assert len(index.versions([uid(n) for n in range(position)])) == position
        index.write([point(n, n, f"word{n}") for n in range(position, position + 20)], TOPIC, {0: position + 20})
        assert found(index, f"word{position}") == [uid(position)]
        index.close()


def test_after_a_power_cut_the_points_below_the_position_are_there(tmp_path: Path) -> None:
    """What was never synced is lost: of the second write there is only the engine's log and meta.json."""
    index, now, then = QdrantEdgeIndex(tmp_path / "index"), tmp_path / "index", tmp_path / "then"
    fill(index, *[point(n, n, "first") for n in range(50)], position=50)
    index.release()
    fill(index, *[point(n, n, "again") for n in range(40, 50)], position=50)
    with index._live.use():  # nothing is let go of meanwhile
        shutil.copytree(now, then, ignore=shutil.ignore_patterns("tmp-*"))  # segments that the engine prepares
    fill(index, *[point(n, n, "second", [1.0, float(n)]) for n in range(50, 150)], position=150)
    with index._live.use():
        for kept in now.glob("g-*/shard/wal/[!t]*"):
            shutil.copy(kept, then / kept.relative_to(now))
    for kept in now.glob("g-*/meta.json"):
        shutil.copy(kept, then / kept.relative_to(now))
    after = QdrantEdgeIndex(then)
    assert after.positions(TOPIC) == {0: 150}
    assert after.versions([uid(n) for n in range(150)]) == {uid(n): n for n in range(150)}
    assert len(found(after, "second", [1.0, 60.0], limit=200)) == 100
    after.close()
    index.close()


def test_a_position_that_could_not_be_stored_is_stored_by_the_retry(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"), position=1)
    generation = next((tmp_path / "index").glob("g-*"))
    obstacle = generation / f".meta.json.{os.getpid()}.tmp"
    obstacle.mkdir()
    with pytest.raises(ConfigurationError):
        fill(index, point(2, 2, "word"), position=2)
    assert index.positions(TOPIC) == {0: 1}
    obstacle.rmdir()
    fill(index, point(2, 2, "word"), position=2)
    assert index.positions(TOPIC) == {0: 2}
    index.close()


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"))
    index.close()
    meta = next((tmp_path / "index").glob("g-*/meta.json"))
    meta.unlink()
    meta.mkdir()
    with pytest.raises(ConfigurationError) as refused:
        index.positions(TOPIC)
    assert "directory" in refused.value.message


def test_a_folder_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    index = QdrantEdgeIndex(tmp_path / "index")
    for use in (lambda: fill(index, point(1, 1)), lambda: index.positions(TOPIC), lambda: index.shadow(UNSETTLED)):
        with pytest.raises(ConfigurationError):
            use()


def test_another_process_swaps(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "old word"))
    body = (
        "shadow = index.shadow(IndexIdentity(None, None))\n"
        "shadow.write([point(2, 2, 'new word')], 'topic-1', {0: 200})\n"
        "shadow.swap(lambda: None)\n"
        "print('ready', flush=True)\n"
    )
    with process(tmp_path / "index", body) as rebuild:
        ready(rebuild)
    assert found(index, "word") == [uid(2)]
    assert index.positions(TOPIC) == {0: 200}
    assert len(generations(tmp_path)) == 1
    index.close()


def generations(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "index").glob("g-*")}


def test_a_shadow_deletes_what_dead_rebuilds_left_and_nothing_of_running_ones(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "live"))
    live = generations(tmp_path)
    body = (
        "shadow = index.shadow(IndexIdentity(None, None))\n"
        "shadow.write([point(2, 2, 'new word')], 'topic-1', {0: 200})\n"
        "print('ready', shadow._made.folder.name, flush=True)\n"
        "time.sleep(60)\n"
    )
    with process(tmp_path / "index", body) as rebuild:
        other = ready(rebuild)
        mine = index.shadow(UNSETTLED)
        assert live | {other} < generations(tmp_path)
        mine.discard()
        assert generations(tmp_path) == live | {other}
    mine = index.shadow(UNSETTLED)
    assert other not in generations(tmp_path)
    mine.discard()
    assert found(index, "live") == [uid(1)]
    index.close()


def _garble(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        paths = list(folder.glob(pattern))
        assert paths
        for path in paths:
            path.write_bytes(b"garbage")

    return damage


def _empty(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            path.write_bytes(b"")

    return damage


def _remove(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_garble("current"), id="current"),
        pytest.param(_garble("g-*/meta.json"), id="meta"),
        pytest.param(_remove("g-*/meta.json"), id="no meta"),
        pytest.param(_garble("g-*/shard/edge_config.json"), id="engine's configuration"),
        pytest.param(_garble("g-*/shard/segments/*/segment.json"), id="segment"),
        pytest.param(_garble("g-*/shard/segments/*/payload_storage/*.dat"), id="payloads"),
        pytest.param(_empty("g-*/shard/segments/*/vector_storage-bm25/deleted/status.dat"), id="the engine panics"),
        pytest.param(_remove("g-*/shard"), id="no shard"),
        pytest.param(_remove("g-*"), id="no generation"),
    ],
)
def test_a_corrupt_index_says_so_and_is_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"), position=9)
    index.close()
    damage(tmp_path / "index")
    with pytest.raises(DataFolderError) as told:
        found(index, "word")
    assert "soma replay --into vector --execute" in told.value.hint
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "word"), tombstone(2, 2), position=9)
    assert shadow.compare(first_partition).examples == {"missing": [uid(1)]}
    shadow.swap(lambda: None)
    assert (found(index, "word"), index.positions(TOPIC)) == ([uid(1)], {0: 9})
    assert len(generations(tmp_path)) == 1
    index.close()


def test_a_shard_that_another_program_holds_is_no_corrupt_one(tmp_path: Path) -> None:
    from qdrant_edge import EdgeShard

    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(1, 1, "word"))
    index.close()
    stranger = EdgeShard.load(str(next((tmp_path / "index").glob("g-*/shard"))))
    with pytest.raises(ServiceUnavailable) as busy:
        found(index, "word")
    assert busy.value.code == "index_busy"
    stranger.close()
    assert found(index, "word") == [uid(1)]
    index.close()


def test_threads_share_one_index(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index")
    fill(index, point(0, 0, "common"))
    wrong: list[Any] = []

    def write(thread: int) -> None:
        for n in range(10):
            index.write([point(100 * thread + n + 1, n, "common")], TOPIC, {thread: n + 1})

    def search() -> None:
        wrong.extend(ids for _ in range(30) if uid(0) not in (ids := found(index, "common", limit=100)))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(1, 4)] + [threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.positions(TOPIC) == {0: 100, 1: 10, 2: 10, 3: 10}
    assert index.count() == 31
    index.close()


def test_a_language_nobody_knows_is_a_configuration_error(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index", language="klingon")
    with pytest.raises(ConfigurationError, match="klingon"):
        fill(index, point(1, 1, "word"))
    index.close()


def test_a_collection_keeps_its_language_until_it_is_rebuilt(tmp_path: Path) -> None:
    index = QdrantEdgeIndex(tmp_path / "index", language="english")
    fill(index, point(1, 1, "seats"))
    index.close()
    german = QdrantEdgeIndex(tmp_path / "index", language="german")
    assert found(german, "seating") == [uid(1)]
    assert german.stats()["language"] == "english"
    shadow = german.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "Häuser"))
    shadow.swap(lambda: None)
    assert german.stats()["language"] == "german"
    assert found(german, "Haus") == [uid(1)]
    german.close()


def test_the_engine_is_loaded_at_first_use_only(tmp_path: Path) -> None:
    code = (
        "import sys; import soma_cli.core.adapters.vector_index.qdrant_edge as adapter\n"
        "from pathlib import Path; index = adapter.QdrantEdgeIndex(Path(sys.argv[1]))\n"
        "index.positions('t'); index.identity(); assert 'qdrant_edge' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")], cwd=ROOT, check=True)
