"""The gate that users get: the pre-commit hook and the action, each really run in repositories of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.schema_folder import PERSON, ROOT, WITH_EMAIL, Repository, environment, folder_of, record, write

TOOLS = Path(sys.executable).parent
HOOKS = ROOT / ".pre-commit-hooks.yaml"
ACTION = ROOT / ".github/actions/schema-check"
TEXTS = {"additionalProperties": {"type": "string"}}
CLOSED = PERSON | TEXTS
"""Other properties are texts: so an optional one that is a text breaks nobody."""
OPTIONAL_EMAIL = record(name_={"type": "string"}, age=PERSON["properties"]["age"], email={"type": "string"}) | TEXTS


@pytest.fixture(autouse=True)
def soma_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))


def with_person(path: Path) -> Repository:
    made = Repository(path)
    folder_of(made.path / "schemas", person=CLOSED)
    return made


# --- the hook ---


def hook() -> dict[str, Any]:
    (only,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    assert isinstance(only, dict)
    return only


@pytest.fixture
def hooked(tmp_path: Path) -> Repository:
    """With one commit, and the hook installed: as it is defined, but run from this environment, not from one of its
    own that would have to be made first."""
    made = with_person(tmp_path / "hooked")
    config = {"repos": [{"repo": "local", "hooks": [{**hook(), "language": "system"}]}]}
    write(made.path / ".pre-commit-config.yaml", yaml.safe_dump(config))
    subprocess.run([TOOLS / "pre-commit", "install"], cwd=made.path, env=environment(), check=True, capture_output=True)
    first = made.commit("the first")
    assert first.returncode == 0, first.stderr
    return made


def test_the_hook_is_well_formed() -> None:
    subprocess.run([TOOLS / "pre-commit", "validate-manifest", HOOKS], check=True)
    assert hook()["language"] == "python", "pre-commit installs soma from its repository"


def test_an_incompatible_commit_fails_and_shows_why(hooked: Repository) -> None:
    write(hooked.path / "schemas/person.json", WITH_EMAIL)
    done = hooked.commit()
    assert done.returncode == 1
    assert "soma schema check" in done.stderr
    assert "breaks HEAD" in done.stderr
    assert "git:HEAD accepts, the new schema refuses: {" in done.stderr
    assert hooked.git("rev-list", "--count", "HEAD").stdout == "1\n"


def test_a_compatible_commit_passes(hooked: Repository) -> None:
    write(hooked.path / "schemas/person.json", OPTIONAL_EMAIL)
    done = hooked.commit()
    assert done.returncode == 0, done.stderr
    assert hooked.git("rev-list", "--count", "HEAD").stdout == "2\n"


def test_a_commit_that_only_deletes_a_schema_fails(hooked: Repository) -> None:
    (hooked.path / "schemas/person.json").unlink()
    done = hooked.commit()
    assert done.returncode == 1
    assert "schemas/person.json is gone" in done.stderr


def test_a_commit_of_other_things_passes(hooked: Repository) -> None:
    write(hooked.path / "README.md", "nothing of schemas")
    assert hooked.commit().returncode == 0


def test_what_is_not_staged_is_not_looked_at(hooked: Repository) -> None:
    """pre-commit puts it aside meanwhile."""
    write(hooked.path / "schemas/person.json", WITH_EMAIL)
    write(hooked.path / "README.md", "nothing of schemas")
    hooked.git("add", "README.md")
    assert hooked.git("commit", "-q", "-m", "a page", check=False).returncode == 0
    assert "email" in (hooked.path / "schemas/person.json").read_text(encoding="utf-8")


# --- the action ---


def run_action(repository: Repository, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(), "GITHUB_WORKSPACE": str(repository.path), **settings}
    return subprocess.run([ACTION / "check.sh"], cwd=repository.path, env=env, capture_output=True, text=True)


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    made = with_person(tmp_path / "origin")
    made.commit("the first")
    made.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return made


def shallow_clone(origin: Repository, branch: str) -> Repository:
    """As a CI checks out: one commit of one branch."""
    clone = Repository(origin.path.parent / f"clone of {branch}")
    clone.git("remote", "add", "origin", origin.path.as_uri())
    clone.git("fetch", "-q", "--depth=1", "origin", branch)
    clone.git("checkout", "-q", "--detach", "FETCH_HEAD")
    return clone


def proposed(origin: Repository, schema: object) -> Repository:
    origin.git("switch", "-q", "-c", "proposal")
    write(origin.path / "schemas/person.json", schema)
    origin.commit()
    return shallow_clone(origin, "proposal")


def test_the_action_is_well_formed() -> None:
    for kind, path in (("actions", ACTION / "action.yml"), ("workflows", ROOT / ".github/workflows/ci.yml")):
        subprocess.run([TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.github-{kind}", path], check=True)
    text = (ACTION / "action.yml").read_text(encoding="utf-8")
    script = (ACTION / "check.sh").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["runs"]["steps"]
    assert set(steps[-1]["env"]) - {"ACTION"} == {
        *("AGAINST", "SCHEMAS", "MODE", "ALLOW_UNDECIDED"),
        *("BEFORE", "MERGE_BASE", "DEFAULT_BRANCH"),
    }
    assert all(name in script for name in set(steps[-1]["env"]) - {"ACTION"})
    assert "${{" not in " ".join(step.get("run", "") for step in steps), "inputs reach scripts as variables only"


def test_the_gate_of_this_project_uses_the_action() -> None:
    assert "uses: ./.github/actions/schema-check" in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def test_a_pull_request_that_breaks_fails_with_an_annotation(origin: Repository) -> None:
    done = run_action(proposed(origin, WITH_EMAIL), GITHUB_BASE_REF="main")
    assert done.returncode == 7, done.stderr
    assert "::error file=schemas/person.json,line=4,title=person breaks " in done.stdout


def test_a_pull_request_that_breaks_nothing_passes(origin: Repository) -> None:
    done = run_action(proposed(origin, OPTIONAL_EMAIL), GITHUB_BASE_REF="main")
    assert done.returncode == 0, done.stderr
    assert "::error" not in done.stdout
    assert "1 compatible" in done.stdout


def test_a_push_is_compared_with_what_was_there_before(origin: Repository) -> None:
    before = origin.git("rev-parse", "HEAD").stdout.strip()
    write(origin.path / "schemas/person.json", WITH_EMAIL)
    origin.commit()
    clone = shallow_clone(origin, "main")
    assert run_action(clone, BEFORE=before).returncode == 7
    assert run_action(clone, BEFORE=before, MODE="FORWARD").returncode == 7
    assert run_action(clone, BEFORE=before, MODE="NONE").returncode == 0


def test_a_merge_queue_is_compared_with_what_it_merges_into(origin: Repository) -> None:
    base = origin.git("rev-parse", "HEAD").stdout.strip()
    assert run_action(proposed(origin, WITH_EMAIL), MERGE_BASE=base).returncode == 7


@pytest.mark.parametrize("before", ["0" * 40, ""])
def test_a_new_branch_and_a_run_by_hand_are_compared_with_the_default_branch(origin: Repository, before: str) -> None:
    clone = proposed(origin, WITH_EMAIL)
    settings = {"BEFORE": before, "DEFAULT_BRANCH": "main", "GITHUB_REF_NAME": "proposal"}
    done = run_action(clone, **settings)
    assert done.returncode == 7
    assert "breaks refs/remotes/origin/main" in done.stdout


def test_with_nothing_before_it_the_action_fails_and_asks(origin: Repository) -> None:
    done = run_action(shallow_clone(origin, "main"), DEFAULT_BRANCH="main", GITHUB_REF_NAME="main")
    assert done.returncode == 2
    assert "::error::there is nothing before this to compare with" in done.stdout


def test_what_to_compare_with_can_be_given(origin: Repository) -> None:
    clone = proposed(origin, WITH_EMAIL)
    assert run_action(clone, GITHUB_BASE_REF="main", AGAINST="git:HEAD").returncode == 0
    assert run_action(clone, AGAINST="released").returncode == 7
    assert run_action(clone, AGAINST="released", SCHEMAS="elsewhere").returncode == 2
