"""`soma schema check --against git:REV`, in repositories of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.schema_folder import PERSON, WITH_EMAIL, Repository, folder_of, record, report, soma, write

FEWER = record(name_={"type": "string"})


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """With `person` as released, committed to main, and the working directory at its top."""
    made = Repository(tmp_path / "work")
    folder_of(made.path / "schemas", person=PERSON)
    made.commit("the first")
    monkeypatch.chdir(made.path)
    return made


def test_the_working_tree_is_compared_with_the_revision(repository: Repository) -> None:
    assert soma("schema", "check", "--against", "git:main").exit_code == 0
    write(repository.path / "schemas/person.json", WITH_EMAIL)
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 7
    assert "person  BACKWARD  breaks main" in result.stdout
    assert "git:main accepts, the new schema refuses: {" in result.stdout


@pytest.mark.parametrize("revision", ["HEAD~1", "v1", "main", "HEAD^{/the first}"])
def test_any_name_of_a_commit_will_do(repository: Repository, revision: str) -> None:
    repository.git("tag", "-a", "v1", "-m", "a tag")
    repository.git("switch", "-q", "-c", "work")
    write(repository.path / "schemas/person.json", WITH_EMAIL)
    repository.commit()
    assert soma("schema", "check", "--against", f"git:{revision}").exit_code == 7
    assert soma("schema", "check", "--against", "git:HEAD").exit_code == 0


def test_the_merge_base_is_where_a_branch_began(repository: Repository) -> None:
    """What main has gained since is none of the branch's doing."""
    repository.git("switch", "-q", "-c", "work")
    repository.git("switch", "-q", "main")
    write(repository.path / "schemas/person.json", FEWER)
    repository.commit()
    repository.git("switch", "-q", "work")
    assert report("schema", "check", "--against", "git:main...")["subjects"][0]["change"] == "same"
    assert report("schema", "check", "--against", "git:main")["subjects"][0]["change"] == "changed"


def test_an_added_schema_is_fine(repository: Repository) -> None:
    write(repository.path / "schemas/fresh.json", PERSON)
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 0
    assert "fresh  BACKWARD  new" in result.stdout


def test_a_deleted_schema_breaks(repository: Repository) -> None:
    (repository.path / "schemas/person.json").unlink()
    write(repository.path / "schemas/other.json", FEWER)
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 7
    assert "schemas/person.json is gone" in result.stdout
    assert soma("schema", "check", "schemas/person.json", "--against", "git:main").exit_code == 7


def test_a_renamed_schema_breaks_and_is_told_from_a_deleted_one(repository: Repository) -> None:
    repository.git("mv", "schemas/person.json", "schemas/human.json")
    subjects = {one["subject"]: one for one in report("schema", "check", "--against", "git:main")["subjects"]}
    assert (subjects["person"]["change"], subjects["person"]["compatible"]) == ("renamed", False)
    assert "was renamed to human" in subjects["person"]["violations"][0]["message"]
    assert subjects["human"]["change"] == "added"


def test_a_schema_of_mode_none_may_go(repository: Repository) -> None:
    write(repository.path / "schemas/versions/person/mode", "NONE\n")
    repository.commit()
    (repository.path / "schemas/person.json").unlink()
    assert soma("schema", "check", "--against", "git:main").exit_code == 0


def test_a_mode_that_changes_with_the_schema_lets_nothing_in(repository: Repository) -> None:
    write(repository.path / "schemas/versions/person/mode", "NONE\n")
    write(repository.path / "schemas/person.json", WITH_EMAIL)
    result = soma("schema", "check", "--against", "git:HEAD", "-o", "github")
    assert result.exit_code == 7
    words = "the mode was BACKWARD in git:HEAD and is NONE now: it is held to BACKWARD"
    assert f"    {words}\n" in result.stdout
    assert any(line.startswith("::warning") and line.endswith(words) for line in result.stdout.splitlines())
    assert soma("schema", "check", "--against", "git:HEAD", "--mode", "NONE").exit_code == 0
    repository.commit()
    write(repository.path / "schemas/person.json", PERSON)
    assert soma("schema", "check", "--against", "git:HEAD").exit_code == 0


@pytest.mark.parametrize(
    ("then", "now", "held"),
    [
        ("BACKWARD_TRANSITIVE", "BACKWARD", "BACKWARD_TRANSITIVE"),
        ("FORWARD", "BACKWARD", "FULL"),
        ("NONE", "FORWARD", "FORWARD"),
        ("FULL", "FORWARD_TRANSITIVE", "FULL_TRANSITIVE"),
        ("NONE", "NONE", "NONE"),
        ("nonsense", "FORWARD", "FULL"),
    ],
)
def test_a_change_is_held_to_both_modes(repository: Repository, then: str, now: str, held: str) -> None:
    write(repository.path / "schemas/versions/person/mode", then)
    repository.commit()
    write(repository.path / "schemas/versions/person/mode", now)
    assert report("schema", "check", "--against", "git:HEAD")["subjects"][0]["mode"] == held


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_released_version_never_changes(repository: Repository, change: str) -> None:
    released = repository.path / "schemas/versions/person/1.json"
    released.unlink()
    if change == "changed":
        write(released, WITH_EMAIL)
    result = soma("schema", "check", "--against", "git:main", "--mode", "NONE")
    assert result.exit_code == 7
    assert "schemas/versions/person/1.json" in result.stdout
    assert "a released version never changes" in result.stdout


def test_a_released_version_may_have_its_lines_end_otherwise(repository: Repository) -> None:
    """As git writes them where core.autocrlf is set."""
    released = repository.path / "schemas/versions/person/1.json"
    released.write_bytes(released.read_bytes().replace(b"\n", b"\r\n"))
    assert soma("schema", "check", "--against", "git:main").exit_code == 0


def test_a_new_released_version_is_fine(repository: Repository) -> None:
    write(repository.path / "schemas/versions/person/2.json", FEWER)
    assert soma("schema", "check", "--against", "git:main").exit_code == 0


def test_transitive_modes_look_at_all_that_was_released_by_then(repository: Repository) -> None:
    """The revision's working version, which is the last, accepts what the first one did not."""
    write(repository.path / "schemas/person.json", record(name_={"type": "string"}, age={"type": "integer"}))
    repository.commit()
    write(repository.path / "schemas/person.json", record(name_={"type": "string"}, age={"type": "integer"}, a={}))
    subject = report("schema", "check", "--against", "git:main", "--mode", "FORWARD_TRANSITIVE")["subjects"][0]
    assert subject["against"] == ["version 1", "git:main"]
    assert {one["reader"] for one in subject["violations"]} == {"version 1"}


def test_references_to_files_are_those_of_the_revision(repository: Repository) -> None:
    write(repository.path / "common/name.json", {"type": "string"})
    write(repository.path / "schemas/person.json", record(name_={"$ref": "../common/name.json"}))
    repository.commit()
    write(repository.path / "common/name.json", {"type": "integer"})
    found = report("schema", "check", "--against", "git:main")["subjects"][0]
    assert found["compatible"] is False
    assert found["violations"][0]["pointer"].startswith(("/definitions/name", "/properties/name"))


def test_it_works_from_a_sub_folder(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    below = repository.path / "src" / "deep"
    below.mkdir(parents=True)
    write(repository.path / "schemas/person.json", WITH_EMAIL)
    monkeypatch.chdir(below)
    found = report("schema", "check", "--against", "git:main")
    assert (found["compatible"], found["folder"]) == (False, str(repository.path / "schemas"))


def test_schemas_may_lie_anywhere_in_the_repository(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(repository.path / "services" / "people" / "formats", person=PERSON)
    repository.commit()
    write(folder / "person.json", WITH_EMAIL)
    for place, option in ((repository.path, folder), (folder.parent, Path("formats"))):
        monkeypatch.chdir(place)
        assert soma("schema", "check", "--against", "git:main", "--schemas", option).exit_code == 7
        assert soma("schema", "check", "--against", "git:HEAD~1", "--schemas", option).exit_code == 0


def test_names_with_spaces_and_other_letters_are_found(repository: Repository) -> None:
    folder = folder_of(repository.path / "Schémas of ours", person=PERSON)
    repository.commit()
    write(folder / "person.json", WITH_EMAIL)
    assert soma("schema", "check", "--against", "git:main", "--schemas", folder).exit_code == 7


def test_a_hook_of_another_repository_does_not_mislead_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git tells its hooks where its repository is, and the tools that they run hear it too."""
    other = Repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    assert report("schema", "check", "--against", "git:main")["subjects"][0]["change"] == "same"


def test_before_the_first_commit_there_is_nothing_to_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Repository(tmp_path / "fresh")
    folder_of(made.path / "schemas", person=PERSON)
    monkeypatch.chdir(made.path)
    assert report("schema", "check", "--against", "git:HEAD")["subjects"][0]["change"] == "added"
    assert "nothing was compared" in soma("schema", "check", "--against", "git:HEAD").stderr
    assert soma("schema", "check", "--against", "git:main").exit_code == 2


@pytest.mark.parametrize("revision", ["nowhere", "", "--upload-pack=touch x", "HEAD:schemas", "main..HEAD"])
def test_an_unknown_revision_is_said_to_be_one(repository: Repository, revision: str) -> None:
    result = soma("schema", "check", "--against", f"git:{revision}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"git knows no revision '{revision}'" in result.stderr


def test_outside_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder_of(tmp_path / "full" / "schemas", person=PERSON)
    monkeypatch.chdir(tmp_path / "full")
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 2
    assert "schemas lies in no git repository" in result.stderr
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 2
    assert "no folder `schemas`" in result.stderr


def test_a_repository_of_another_user_is_not_trusted(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git finds it in many a container of a CI; the variable is git's own, for its tests."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 2
    assert "git does not trust schemas: another user owns it" in result.stderr
    assert f"git config --global --add safe.directory {repository.path}" in result.stderr


def test_without_git_it_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = soma("schema", "check", "--against", "git:main")
    assert result.exit_code == 3
    assert "git is not installed" in result.stderr


def test_a_file_of_the_revision_that_is_no_schema_is_named(repository: Repository) -> None:
    write(repository.path / "schemas/person.json", '{"type": 7}')
    repository.commit()
    write(repository.path / "schemas/person.json", PERSON)
    result = soma("schema", "check", "--against", "git:HEAD")
    assert result.exit_code == 5
    assert "HEAD:schemas/person.json: " in result.stderr


def test_links_are_followed_within_the_revision(repository: Repository) -> None:
    write(repository.path / "common/link.json", PERSON)
    (repository.path / "schemas/link.json").symlink_to("../common/link.json")
    repository.commit()
    assert report("schema", "check", "link", "--against", "git:HEAD")["subjects"][0]["change"] == "same"
    write(repository.path / "common/link.json", WITH_EMAIL)
    result = soma("schema", "check", "link", "--against", "git:HEAD")
    assert result.exit_code == 7
    assert "link  BACKWARD  breaks HEAD" in result.stdout


def test_references_lead_to_links_too(repository: Repository) -> None:
    write(repository.path / "shared/name.json", {"type": "string"})
    (repository.path / "common").symlink_to("shared")
    write(repository.path / "schemas/person.json", record(name_={"$ref": "../common/name.json"}))
    repository.commit()
    write(repository.path / "shared/name.json", {"type": "integer"})
    assert soma("schema", "check", "--against", "git:HEAD").exit_code == 7


@pytest.mark.parametrize(
    ("target", "words"),
    [("{outside}", "leads out of the repository"), ("nowhere.json", "to no file"), ("link.json", "to no file")],
)
def test_a_link_that_leads_to_nothing_in_the_revision_is_refused(
    repository: Repository, tmp_path: Path, target: str, words: str
) -> None:
    outside = write(tmp_path / "outside.json", PERSON)
    (repository.path / "schemas/link.json").symlink_to(target.format(outside=outside))
    repository.commit()
    (repository.path / "schemas/link.json").unlink()
    write(repository.path / "schemas/link.json", WITH_EMAIL)
    result = soma("schema", "check", "--against", "git:HEAD")
    assert result.exit_code == 5
    assert "HEAD:schemas/link.json is, or lies below, a symbolic link that" in result.stderr
    assert words in result.stderr
    assert "1 compatible, 1 not compared" in result.stdout


def test_versions_below_a_link_are_refused(repository: Repository) -> None:
    """A tree does not tell which files they are."""
    (repository.path / "schemas/versions").rename(repository.path / "released")
    (repository.path / "schemas/versions").symlink_to("../released")
    repository.commit()
    result = soma("schema", "check", "--against", "git:HEAD")
    assert result.exit_code == 5
    assert "HEAD:schemas/versions is a symbolic link" in result.stderr


def test_of_a_partial_clone_only_the_schemas_are_fetched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(repository.path / f"schemas/other/{number}.json", str(number))
        write(repository.path / f"source/{number}.py", str(number))
    repository.commit()
    repository.git("config", "uploadpack.allowFilter", "true")
    clone = Repository(tmp_path / "clone")
    clone.git("remote", "add", "origin", f"file://{repository.path}")
    clone.git("config", "remote.origin.promisor", "true")
    clone.git("config", "remote.origin.partialclonefilter", "blob:none")
    clone.git("fetch", "-q", "--filter=blob:none", "origin", "main")
    folder_of(clone.path / "schemas", person=WITH_EMAIL)
    monkeypatch.chdir(clone.path)
    before = missing(clone)
    assert soma("schema", "check", "--against", "git:FETCH_HEAD").exit_code == 7
    assert before - missing(clone) == 1  # working and released version are the same blob


def missing(clone: Repository) -> int:
    return clone.git("rev-list", "--objects", "--missing=print", "FETCH_HEAD").stdout.count("?")


# --- the folder that is meant ---


@pytest.mark.parametrize("command", [("check",), ("diff", "person"), ("list",)])
def test_the_folder_above_is_meant_below_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    write(repository.path / "schemas/person.json", WITH_EMAIL)
    (repository.path / "src").mkdir()
    monkeypatch.chdir(repository.path / "src")
    result = soma("schema", *command)
    assert result.exit_code == (7 if command == ("check",) else 0)
    assert "person" in result.stdout


def test_a_repository_without_schemas_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what ships with soma, as a step of a CI would that began in the wrong folder."""
    monkeypatch.chdir(Repository(tmp_path / "other").path)
    for against in ("released", "registry", "git:HEAD"):
        result = soma("schema", "check", "--against", against)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "no folder `schemas` here" in result.stderr
    assert soma("schema", "register").exit_code == 2
    assert soma("schema", "check", "memory.event").exit_code == 0
