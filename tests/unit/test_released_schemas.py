"""The released versions of soma's own schemas never change, and the working ones agree with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from soma_cli.commands.schema_options import ModeChoice
from soma_cli.core.compatibility import Mode
from soma_cli.core.governance import Governance
from soma_cli.core.schemas import find_folder, released_versions, working_names
from soma_cli.core.settings import RegistrySettings, Settings
from soma_cli.core.wiring import Adapters

FOLDER = Path(__file__).resolve().parents[2] / "schemas"
RELEASED = {
    "versions/memory.event/1.json": "5300fd64d1ae36f4b36ce6c34e46dafbf719ee8694c454d46407c199892932a8",
}
"""SHA-256 of each file. A line is added with a new version; a line that has to change means a broken promise."""


def paths() -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())


def test_every_released_version_is_as_it_was_released() -> None:
    released = [path for path in paths() if path.startswith("versions/") and path.endswith(".json")]
    assert {path: hashlib.sha256((FOLDER / path).read_bytes()).hexdigest() for path in released} == RELEASED


def test_versions_are_numbered_without_gaps_and_every_schema_has_one() -> None:
    released = released_versions(paths())
    assert working_names(paths()) == list(released)
    for numbers in released.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_working_versions_are_compatible_with_the_released_ones() -> None:
    """The gate of the project's own schemas."""
    settings = Settings(registry=RegistrySettings(folder=FOLDER))
    report = Governance(settings, Adapters(settings)).check()
    assert report.compatible is True, report
    assert [one.subject for one in report.subjects] == working_names(paths())


def test_the_folder_has_nothing_that_soma_does_not_know() -> None:
    known = {f"{name}.json" for name in working_names(paths())} | set(RELEASED)
    assert [path for path in paths() if path not in known and not path.endswith("/mode")] == []


def test_the_modes_of_the_command_line_are_those_of_the_checker() -> None:
    assert [mode.value for mode in ModeChoice] == [mode.value for mode in Mode]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "-a", ".a"])
def test_what_can_be_no_name_leads_to_no_file(name: str) -> None:
    from soma_cli.core.errors import InputRejected
    from soma_cli.core.schemas import mode_path, released_path, working_path

    for path in (working_path, mode_path, lambda name: released_path(name, 1)):
        with pytest.raises(InputRejected):
            path(name)


def test_the_folder_is_the_shipped_one_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (find_folder().path, find_folder().origin) == (FOLDER, "shipped")
    assert find_folder().description == f"{FOLDER}, which ships with soma"
