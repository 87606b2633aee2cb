"""`soma schema check`: released versions and files, what is shown, and how it exits."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema_rs
import pytest

from tests.cli.schema_folder import PERSON, WITH_EMAIL, Repository, folder_of, record, report, soma, write

OPAQUE = record(name_={"type": "string", "pattern": "^(?=.*a)b"})
OPAQUE_TOO = record(name_={"type": "string", "pattern": "^(?=.*a)(b|b)"})
"""A pair that the checker leaves undecided: look-ahead has no automaton."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`./schemas` of the working directory, with `person` as released."""
    monkeypatch.chdir(tmp_path)
    return folder_of(tmp_path / "schemas", person=PERSON)


def test_what_is_as_it_was_released_is_compatible(folder: Path) -> None:
    result = soma("schema", "check")
    assert result.exit_code == 0
    assert "person  BACKWARD  the same as version 1" in result.stdout
    assert "1 schema in schemas, against the versions released there: 1 compatible" in result.stdout


def test_the_documented_shape(folder: Path) -> None:
    write(folder / "person.json", WITH_EMAIL)
    found = report("schema", "check")
    subject = found["subjects"][0]
    assert (found["compatible"], found["folder"], found["folder_origin"]) == (False, "schemas", "here")
    assert (subject["subject"], subject["mode"], subject["compatible"]) == ("person", "BACKWARD", False)
    violation = next(one for one in subject["violations"] if one["keyword"] == "required")
    assert violation["pointer"] == "/required"
    assert set(violation) >= {"pointer", "keyword", "message", "witness", "writer", "reader"}
    assert subject["undecided"] == []
    assert jsonschema_rs.Draft7Validator(PERSON).is_valid(violation["witness"])
    assert not jsonschema_rs.Draft7Validator(WITH_EMAIL).is_valid(violation["witness"])


def test_a_break_exits_7_and_shows_place_sentence_and_witness(folder: Path) -> None:
    write(folder / "person.json", WITH_EMAIL)
    result = soma("schema", "check")
    assert result.exit_code == 7
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"[✗x] person  BACKWARD  breaks version 1", lines[0])
    assert re.match(r"    /required  .*email", lines[1])
    assert lines[2].startswith("      version 1 accepts, the new schema refuses: {")
    assert "1 incompatible" in lines[-1]
    assert "person breaks what was there before" in result.stderr
    error = json.loads(soma("schema", "check", "-o", "json").stderr)["error"]
    assert (error["code"], error["details"]["incompatible"]) == ("schema_incompatible", ["person"])


@pytest.mark.parametrize(
    ("mode", "code"),
    [("BACKWARD", 7), ("FORWARD", 0), ("FULL", 7), ("NONE", 0)],
)
def test_the_mode_is_of_the_option_or_of_the_folder(folder: Path, mode: str, code: int) -> None:
    write(folder / "person.json", WITH_EMAIL)
    assert soma("schema", "check", "--mode", mode).exit_code == code
    write(folder / "versions/person/mode", f"{mode}\n")
    result = soma("schema", "check")
    assert result.exit_code == code
    assert f"person  {mode}  " in result.stdout


def test_transitive_means_all_released_versions(folder: Path) -> None:
    without_age = record(name_={"type": "string"})
    write(folder / "versions/person/2.json", without_age)
    narrower = record(name_={"type": "string"}, age={"type": "integer", "maximum": 100})
    write(folder / "versions/person/1.json", narrower)
    write(folder / "person.json", PERSON)
    found = report("schema", "check", "--mode", "FORWARD_TRANSITIVE")["subjects"][0]
    assert found["against"] == ["version 1", "version 2"]
    assert {one["reader"] for one in found["violations"]} == {"version 1"}
    assert soma("schema", "check", "--mode", "FORWARD").exit_code == 0


def test_only_the_named_ones_are_checked(folder: Path) -> None:
    write(folder / "person.json", WITH_EMAIL)
    folder_of(folder, other=PERSON)
    assert soma("schema", "check", "other").exit_code == 0
    assert soma("schema", "check", "schemas/person.json").exit_code == 7
    unknown = soma("schema", "check", "persn")
    assert unknown.exit_code == 6
    assert "other, person" in unknown.stderr


def test_a_schema_named_twice_is_checked_once(folder: Path) -> None:
    assert "1 schema in" in soma("schema", "check", "person", "person", "schemas/person.json").stdout


def test_what_was_never_released_is_new(folder: Path) -> None:
    write(folder / "fresh.json", PERSON)
    result = soma("schema", "check", "fresh")
    assert result.exit_code == 0
    assert "new: there is nothing yet to compare it with" in result.stdout


def test_a_released_schema_that_is_gone_breaks(folder: Path) -> None:
    folder_of(folder, other=PERSON)
    (folder / "person.json").unlink()
    result = soma("schema", "check")
    assert result.exit_code == 7
    assert "schemas/person.json is gone" in result.stdout
    write(folder / "versions/person/mode", "NONE\n")
    assert soma("schema", "check").exit_code == 0


def test_undecided_fails_unless_allowed(folder: Path) -> None:
    folder_of(folder, person=OPAQUE)
    write(folder / "person.json", OPAQUE_TOO)
    result = soma("schema", "check")
    assert result.exit_code == 7
    assert "person could not be decided" in result.stderr
    assert re.search(r"[?] person  BACKWARD  undecided", result.stdout)
    assert report("schema", "check")["compatible"] is None
    assert json.loads(soma("schema", "check", "-o", "json").stderr)["error"]["code"] == "schema_undecided"
    assert soma("schema", "check", "--allow-undecided").exit_code == 0


def test_allowing_the_undecided_does_not_allow_a_break(folder: Path) -> None:
    folder_of(folder, opaque=OPAQUE)
    write(folder / "opaque.json", OPAQUE_TOO)
    write(folder / "person.json", WITH_EMAIL)
    assert soma("schema", "check", "--allow-undecided").exit_code == 7


def test_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = write(tmp_path / "old.json", PERSON), write(tmp_path / "new.json", WITH_EMAIL)
    result = soma("schema", "check", "new.json", "--against", "old.json")
    assert result.exit_code == 7
    assert "new  BACKWARD  breaks old.json" in result.stdout
    assert "old.json accepts, new.json refuses: " in result.stdout
    assert soma("schema", "check", new, "--against", old, "--mode", "FORWARD").exit_code == 0
    assert soma("schema", "check", old, "--against", new).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--against", "main"], 2, "--against git:main"),
        (["--against", "old.json"], 2, "one schema is compared with a file"),
        (["missing.json", "--against", "new.json"], 2, "there is no file missing.json"),
        (["new.json"], 2, "--against OLD.json"),
        (["new.json", "--against", "missing.json"], 2, "there is no file missing.json"),
        (["--mode", "SIDEWAYS"], 2, "SIDEWAYS"),
        (["--against", "log", "--mode", "FULL"], 2, "the log is compared BACKWARD"),
    ],
)
def test_what_cannot_be_asked(folder: Path, arguments: list[str], code: int, words: str) -> None:
    for name in ("old.json", "new.json"):
        write(folder.parent / name, PERSON)
    result = soma("schema", "check", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_a_mode_that_is_none_is_a_fault_of_the_folder(folder: Path) -> None:
    write(folder / "versions/person/mode", "SIDEWAYS\n")
    result = soma("schema", "check")
    assert result.exit_code == 3
    assert "SIDEWAYS" in result.stderr


@pytest.mark.parametrize("format", ["text", "json", "jsonl", "github"])
def test_a_witness_may_have_integers_of_any_size(folder: Path, format: str) -> None:
    most, witness = 2**64 - 1, str(2**64)
    folder_of(folder, person={"type": "integer"})
    write(folder / "person.json", {"type": "integer", "maximum": most})
    result = soma("schema", "check", "-o", format)
    assert result.exit_code == 7, result.stderr
    assert witness in result.stdout
    if format in ("json", "jsonl"):
        (violation,) = json.loads(result.stdout)["subjects"][0]["violations"]
        assert violation["witness"] == 2**64
    assert witness in soma("schema", "diff", "person", "-o", "json" if format == "jsonl" else "text").stdout


def test_long_witnesses_are_cut_for_people_and_whole_for_programs(folder: Path) -> None:
    folder_of(folder, person={"type": "string"})
    write(folder / "person.json", {"type": "string", "maxLength": 5000})
    lines = soma("schema", "check").stdout.splitlines()
    assert max(map(len, lines)) < 2000
    assert "characters, whole with -o json" in lines[2]
    assert len(report("schema", "check")["subjects"][0]["violations"][0]["witness"]) == 5001


def test_what_a_schema_holds_cannot_drive_the_terminal(folder: Path) -> None:
    evil = "\x1b]0;title\x07\u202e\n\r::error::"
    folder_of(folder, person=record(**{evil: {"enum": [evil, 1]}}))
    write(folder / "person.json", record(**{evil: {"enum": [1], "title": evil}}))
    for words in (["check"], ["check", "-o", "github"], ["diff", "person"], ["list"], ["check", "--against", evil]):
        result = soma("schema", *words)
        shown = result.stdout + result.stderr
        assert not set(shown) & set("\x1b\x07\r\u202e"), words
        assert "\n::error::" not in shown


# --- annotations of GitHub Actions ---


def test_annotations_stand_at_the_line_of_the_violation(folder: Path) -> None:
    write(folder / "person.json", WITH_EMAIL)
    result = soma("schema", "check", "-o", "github")
    assert result.exit_code == 7
    line = next(line for line in result.stdout.splitlines() if line.startswith("::error"))
    assert line.startswith("::error file=schemas/person.json,line=4,title=person breaks version 1::")
    assert "%0Aversion 1 accepts, the new schema refuses: {" in line
    text = (folder / "person.json").read_text(encoding="utf-8").splitlines()
    assert '"required"' in text[3]


def test_annotations_are_escaped(folder: Path) -> None:
    name = "a%b\r\n::error::x,y:z"
    folder_of(folder, person=record(**{name: {"type": "string"}}))
    write(folder / "person.json", record(**{name: {"type": "integer"}}))
    lines = [line for line in soma("schema", "check", "-o", "github").stdout.splitlines() if line.startswith("::")]
    assert lines
    for line in lines:
        properties, _, message = line.removeprefix("::error ").partition("::")
        assert "%" not in re.sub("%(25|0D|0A|3A|2C)", "", properties + message)
        assert properties.count("=") == 3


def test_annotations_name_files_from_the_top_of_the_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent.parent))
    write(folder / "person.json", WITH_EMAIL)
    assert f"file={folder.parent.name}/schemas/person.json" in soma("schema", "check", "-o", "github").stdout


def test_what_is_allowed_is_a_warning(folder: Path) -> None:
    folder_of(folder, person=OPAQUE)
    write(folder / "person.json", OPAQUE_TOO)
    assert "::error " in soma("schema", "check", "-o", "github").stdout
    allowed = soma("schema", "check", "-o", "github", "--allow-undecided")
    assert (allowed.exit_code, "::error" in allowed.stdout, "::warning " in allowed.stdout) == (0, False, True)


# --- nothing to compare with ---


def test_it_is_said_where_nothing_was_compared(folder: Path) -> None:
    shutil.rmtree(folder / "versions")
    result = soma("schema", "check", "-o", "github")
    assert result.exit_code == 0
    assert "nothing was compared: no version is released in schemas" in result.stderr
    assert "::warning::nothing was compared" in result.stdout
    assert report("schema", "check")["compared"] == 0


def test_a_registry_that_has_none_of_the_schemas_does_not_pass(folder: Path) -> None:
    """It is rather another registry, or another prefix. One that is named may be new."""
    assert report("schema", "check", "--against", "registry")["compared"] == 1
    shutil.rmtree(folder / "versions")
    result = soma("schema", "check", "--against", "registry")
    assert result.exit_code == 7
    assert "the registry has no version of person: nothing was compared" in result.stderr
    assert result.stderr.count("nothing was compared") == 1
    assert report("schema", "check", "--against", "registry")["missing"] == ["person"]
    named = soma("schema", "check", "person", "--against", "registry")
    assert named.exit_code == 0
    assert "nothing was compared: none of these schemas is in the registry" in named.stderr
    folder_of(folder, other=PERSON)
    assert soma("schema", "check", "--against", "registry").exit_code == 0, "one that is new among others"


def test_only_the_versions_that_count_have_to_be_schemas(folder: Path) -> None:
    write(folder / "versions/person/2.json", PERSON)
    write(folder / "versions/person/1.json", "junk")
    assert soma("schema", "check").exit_code == 0
    assert soma("schema", "check", "--mode", "FULL_TRANSITIVE").exit_code == 5


def test_a_mode_of_an_unknown_schema_is_set_and_told(folder: Path) -> None:
    assert "is no schema of schemas" not in soma("schema", "mode", "person", "FULL").stderr
    result = soma("schema", "mode", "persom", "NONE")
    assert result.exit_code == 0
    assert "persom is no schema of schemas" in result.stderr


def test_what_breaks_in_another_file_is_annotated_there(folder: Path) -> None:
    write(folder / "common.json", {"definitions": {"na/me": {"title": "a name", "type": "string"}}})
    write(folder / "person.json", record(name_={"$ref": "common.json#/definitions/na~1me"}))
    soma("schema", "register")
    write(folder / "common.json", {"definitions": {"na/me": {"title": "a name", "type": "integer"}}})
    result = soma("schema", "check", "person", "-o", "github")
    assert "::error file=schemas/common.json,line=5,title=person breaks " in result.stdout
    assert "    schemas/common.json#/definitions/na~1me/type  " in result.stdout
    violation = report("schema", "check", "person")["subjects"][0]["violations"][0]
    assert (violation["file"], violation["file_pointer"]) == ("schemas/common.json", "/definitions/na~1me/type")
    assert violation["pointer"] == "/definitions/common/definitions/na~1me/type"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n  "title": "x",\n  "type": "strange"\n}', 3),
        ('{\n  "title": "x"\n  "type": "string"\n}', 3),
        ("", 1),
        ('{\n"a": 1, "a": 2}', 2),
    ],
)
def test_what_is_no_schema_is_annotated_at_its_place(folder: Path, text: str, line: int) -> None:
    write(folder / "person.json", text)
    result = soma("schema", "check", "-o", "github")
    assert result.exit_code == 5
    assert result.stdout.startswith(f"::error file=schemas/person.json,line={line}::schemas/person.json: ")


def test_what_has_no_file_is_annotated_without_one(folder: Path) -> None:
    result = soma("schema", "check", "nothing", "-o", "github")
    assert (result.exit_code, result.stdout.startswith("::error::there is no schema 'nothing'")) == (6, True)


def test_a_file_that_is_not_there_is_said_to_be_missing(folder: Path) -> None:
    result = soma("schema", "check", "./nofile.json")
    assert result.exit_code == 2
    assert "there is no file ./nofile.json" in result.stderr


@pytest.mark.parametrize("against", ["released", "git:main"])
def test_what_is_no_schema_does_not_hide_what_is_found_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, against: str
) -> None:
    repository = Repository(tmp_path / "project")
    folder = folder_of(repository.path / "schemas", away=PERSON, broken=PERSON, person=PERSON, zebra=PERSON)
    repository.commit()
    monkeypatch.chdir(repository.path)
    write(folder / "away.json", {"$ref": "nowhere.json"})
    write(folder / "broken.json", '{"title": 1')
    write(folder / "zebra.json", WITH_EMAIL)
    found = report("schema", "check", "--against", against)
    assert found["compatible"] is False
    assert [subject["subject"] for subject in found["subjects"]] == ["person", "zebra"]
    assert [refused["name"] for refused in found["refused"]] == ["away", "broken"]
    assert [refused["code"] for refused in found["refused"]][1] == "not_json"
    result = soma("schema", "check", "--against", against)
    assert (result.exit_code, "away, broken could not be compared" in result.stderr) == (5, True)
    assert "zebra  BACKWARD  breaks " in result.stdout
    assert re.search(r"^[✗x] broken  schemas/broken\.json: ", result.stdout, re.MULTILINE)
    assert "4 schemas in schemas" in result.stdout
    assert "1 compatible, 1 incompatible, 2 not compared" in result.stdout
    annotations = soma("schema", "check", "--against", against, "-o", "github").stdout
    assert "::error file=schemas/broken.json,line=1::schemas/broken.json: " in annotations
    assert "::error file=schemas/zebra.json,line=" in annotations


def test_nothing_but_what_is_no_schema_passes_neither(folder: Path) -> None:
    for name in ("one", "person"):
        write(folder / f"{name}.json", "[]")
    assert report("schema", "check")["compatible"] is None
    result = soma("schema", "check", "--allow-undecided")
    assert (result.exit_code, "nothing was compared" in result.stderr) == (5, False)
    assert "2 not compared" in result.stdout
