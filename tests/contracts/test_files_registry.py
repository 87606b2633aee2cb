"""What the registry of files does beside what every registry promises: numbered files that nothing touches again."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soma_cli.core.adapters.schema_registry.files import FilesRegistry
from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import ConfigurationError, InputRejected, UsageError
from soma_cli.core.ports import SchemaRegistry
from soma_cli.core.schemas import SchemaFolder


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    return FilesRegistry(SchemaFolder(tmp_path, "asked"))


def text_of(number: int) -> str:
    return json.dumps({"minimum": number})


def test_a_version_is_a_file_as_it_was_given(registry: SchemaRegistry, tmp_path: Path) -> None:
    text = '{ "minimum":1 }\r\n'
    registry.register("one", text)
    registry.register("one", text_of(2))
    assert (tmp_path / "versions/one/1.json").read_bytes() == text.encode()
    assert sorted(path.name for path in (tmp_path / "versions/one").iterdir()) == ["1.json", "2.json"]
    assert registry.where() == str(tmp_path / "versions")


def test_nothing_that_is_released_is_touched_again(registry: SchemaRegistry, tmp_path: Path) -> None:
    registry.register("one", text_of(1))
    released = tmp_path / "versions/one/1.json"
    before = released.stat()
    registry.register("one", text_of(2))
    registry.register("one", text_of(1))
    registry.set_mode("one", Mode.FULL)
    assert released.stat() == before


def test_threads_and_processes_that_release_at_once_get_a_number_each(registry: SchemaRegistry, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from soma_cli.core.adapters.schema_registry.files import FilesRegistry;"
        "from soma_cli.core.schemas import SchemaFolder;"
        "registry = FilesRegistry(SchemaFolder(Path(sys.argv[1]), 'asked'));"
        "[registry.register('one', '{\"minimum\": %d}' % n) for n in range(0, 30)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda n: registry.register("one", text_of(n % 40)), range(80)))
    assert [other.wait(60) for other in others] == [0, 0]
    versions = registry.versions("one")
    assert [one.version for one in versions] == list(range(1, len(versions) + 1))
    assert {one.text for one in versions} == {text_of(n) for n in range(40)}
    assert all(versions[one.version - 1].text == one.text for one in made)
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_a_crash_leaves_is_no_version(registry: SchemaRegistry, tmp_path: Path) -> None:
    registry.register("one", text_of(1))
    (tmp_path / "versions/one/.2.json.7.7.tmp").write_text('{"mini')
    assert [one.version for one in registry.versions("one")] == [1]
    assert registry.register("one", text_of(2)).version == 2


def test_other_files_are_no_versions(registry: SchemaRegistry, tmp_path: Path) -> None:
    for name in ("01.json", "0.json", "x.json", "1.json.orig", "README.md"):
        path = tmp_path / "versions/one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert registry.versions("one") == []
    assert registry.subjects() == []


def test_what_ships_with_soma_is_not_released_by_others(tmp_path: Path) -> None:
    registry = FilesRegistry(SchemaFolder(tmp_path, "shipped"))
    with pytest.raises(UsageError, match="ship with soma"):
        registry.register("one", text_of(1))
    with pytest.raises(UsageError, match="ship with soma"):
        registry.set_mode("one", Mode.NONE)
    assert list(tmp_path.iterdir()) == []


def test_a_mode_by_hand(registry: SchemaRegistry, tmp_path: Path) -> None:
    path = tmp_path / "versions/one/mode"
    path.parent.mkdir(parents=True)
    path.write_text("  FULL_TRANSITIVE \n\n")
    assert registry.mode("one") is Mode.FULL_TRANSITIVE
    path.write_text("full")
    with pytest.raises(ConfigurationError, match="'full'"):
        registry.mode("one")


@pytest.mark.parametrize("name", ["../one", "a/b", "", ".one"])
def test_a_name_leads_nowhere_else(registry: SchemaRegistry, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputRejected):
        registry.register(name, text_of(1))
    with pytest.raises(InputRejected):
        registry.set_mode(name, Mode.FULL)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("a file")
    registry = FilesRegistry(SchemaFolder(tmp_path, "asked"))
    with pytest.raises(UsageError, match=r"versions/one/1\.json cannot be written"):
        registry.register("one", text_of(1))
