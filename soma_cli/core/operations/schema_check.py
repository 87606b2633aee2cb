"""Whether schemas agree with what was there before: released versions, a revision, another file, a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import orjson

from soma_cli.core.compatibility import Budget, Mode, check
from soma_cli.core.errors import InputRejected, NotFound, SomaError, UsageError
from soma_cli.core.operations.schema_load import Fetch, LoadedSchema, load_schema, parse_schema
from soma_cli.core.ports import DEFAULT_MODE, RegisteredSchema, SchemaFiles, SchemaRegistry, same_schema
from soma_cli.core.schema_results import RefusedSchema, SchemaCheck, SchemaDoubt, SchemaViolation, SubjectCheck
from soma_cli.core.schemas import (
    SchemaFolder,
    mode_path,
    no_such_schema,
    released_path,
    released_versions,
    stray,
    working_names,
    working_path,
)

T = TypeVar("T")
ModeOf = Callable[[str], Mode]
"""The mode that holds for a schema."""
NEW = "the new schema"
_ALL = "_TRANSITIVE"


class Version(NamedTuple):
    """One side of a comparison. `label` is what messages call it: `version 3`, `git:main`, `old.json`."""

    label: str
    document: Any


@dataclass(frozen=True, slots=True)
class Work:
    """The working versions that are checked, and how."""

    files: SchemaFiles
    names: Sequence[str]
    mode_of: ModeOf
    fetch: Fetch | None = None
    budget: Budget = Budget()
    used: set[str] = field(default_factory=set)
    """Paths of the files that the schemas were made of, so far."""
    refused: dict[str, SomaError] = field(default_factory=dict)
    """Why those could not be compared that could not, so far."""

    def each(self, check_one: Callable[[str], SubjectCheck]) -> Iterator[SubjectCheck]:
        """Every schema that can be read; one that cannot does not hide what is found of the others."""
        for name in self.names:
            try:
                yield check_one(name)
            except (InputRejected, NotFound, UsageError) as error:
                if len(self.names) == 1:
                    raise
                self.refused[name] = error

    def schema(self, name: str) -> LoadedSchema:
        found = load_schema(self.files, working_path(name), self.fetch)
        self.used.update(found.parts)
        return found


def compare(subject: str, new: Version, old: Sequence[Version], mode: Mode, budget: Budget) -> SubjectCheck:
    """The new version with older ones, oldest first, the way the mode asks."""
    asked = counting(old, mode)
    found = SubjectCheck(subject, mode.value, True, against=[version.label for version in asked])
    found.change = "same" if old and same(new.document, old[-1].document) else "changed"
    for writer, reader in _directions(new, asked, mode):
        verdict = check(writer.document, reader.document, budget)
        found.compatible = worse(found.compatible, verdict.compatible)
        found.violations += [
            SchemaViolation(one.pointer, one.keyword, one.message, one.witness, writer.label, reader.label)
            for one in verdict.violations
        ]
        found.undecided += [
            SchemaDoubt(one.pointer, one.message, writer.label, reader.label) for one in verdict.undecided
        ]
    return found


def compared(versions: Sequence[RegisteredSchema], mode: Mode, where: str = "") -> list[Version]:
    """Those that a new version is compared with; of the others it does not matter what they are."""
    return [labelled(version, where) for version in counting(versions, mode)]


def labelled(version: RegisteredSchema, where: str = "") -> Version:
    """A registered version as one side of a comparison; `where` names its registry where there are two."""
    shown = f"{version.subject} version {version.version}"
    label = f"version {version.version}" + (f" of {where}" if where else "")
    return Version(label, parse_schema(version.subject, version.text, shown).document)


def counting(versions: Sequence[T], mode: Mode) -> Sequence[T]:
    """Of the versions, oldest first, those that the mode asks about."""
    return versions if mode.endswith(_ALL) else versions[-1:]


def _directions(new: Version, old: Sequence[Version], mode: Mode) -> Iterator[tuple[Version, Version]]:
    """Writer and reader of each comparison that the mode asks for."""
    for version in old:
        if mode.startswith(("BACKWARD", "FULL")):
            yield version, new
        if mode.startswith(("FORWARD", "FULL")):
            yield new, version


def worse(one: bool | None, other: bool | None) -> bool | None:
    """Of two answers: no, else not known, else yes."""
    return False if False in (one, other) else None if None in (one, other) else True


def same(one: Any, other: Any) -> bool:
    """As JSON, in which true is not 1 and the order of keys says nothing."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def together(
    subjects: Iterable[SubjectCheck],
    folder: SchemaFolder | None,
    against: str,
    refused: Mapping[str, SomaError] = MappingProxyType({}),
) -> SchemaCheck:
    """The results of one check; `folder` where they are schemas of one. `refused` is read after the subjects."""
    report = SchemaCheck(True, list(subjects), against=against)
    report.refused = [
        RefusedSchema(name, error.message, error.hint, error.code, error.details.get("pointer"))
        for name, error in refused.items()
    ]
    if report.refused:
        report.compatible = None
    for subject in report.subjects:
        report.compatible = worse(report.compatible, subject.compatible)
        report.compared += bool(subject.against) and subject.events != 0
    if folder is not None:
        report.folder, report.folder_origin = str(folder.path), folder.origin
    return report


def chosen(files: SchemaFiles, names: Sequence[str], *more: str) -> list[str]:
    """The schemas to look at: those named, each once, or all there are. Raises NotFound, and InputRejected where a file
    that may be meant as one of them has no schema's name."""
    paths = files.paths()
    there = sorted({*working_names(paths), *more})
    nameless = [path for path in stray(paths) if "/" not in path]
    if nameless and not names:
        raise InputRejected(
            f"{files.shown(nameless[0])} has no schema's name, and is not looked at",
            hint="rename it (letters, digits, `_`, after the first also `.`, `-`), or name the schemas that are meant",
            code="schema_name",
        )
    if not there:
        raise NotFound(f"there is no schema in {files.label}", hint="put NAME.json there, or give another --schemas")
    for name in names:
        if name not in there:
            raise no_such_schema(name, there, files.label)
    return list(dict.fromkeys(names)) or there


def check_registry(
    work: Work, registry: SchemaRegistry, subject_of: Callable[[str], str], mode: Mode | None = None
) -> Iterator[SubjectCheck]:
    """Each schema with the versions that a registry has of it; those in the folder are a registry, too."""
    there = working_names(work.files.paths())

    def check_one(name: str) -> SubjectCheck:
        subject = subject_of(name)
        held = mode or registry.mode(subject)
        if name not in there:
            return gone(name, held, f"versions released in {work.files.label}", work.files.shown(working_path(name)))
        old = compared(registry.versions(subject), held)
        schema = work.schema(name)
        found = _checked(schema, subject, old, held, work.budget)
        if old and mode is None and found.change != "same":
            _ask_registry(found, registry, schema.text)
        return found

    return work.each(check_one)


def _ask_registry(found: SubjectCheck, registry: SchemaRegistry, text: str) -> None:
    """The registry's own verdict, which decides there, where it is not ours."""
    try:
        opinion = registry.opinion(found.subject, text)
    except InputRejected as error:
        found.note = f"the registry itself takes it for no schema: {error.message}"
        return
    if opinion is not None and opinion.compatible is not found.compatible:
        verdict = "compatible" if opinion.compatible else "incompatible"
        found.note = ": ".join([f"the registry itself says {verdict}", *opinion.messages[:3]])


def check_revision(work: Work, then: SchemaFiles, mode: Mode | None = None) -> Iterator[SubjectCheck]:
    """Each schema with what it was in a revision; with all that was released by then where the mode is transitive."""
    now_paths, then_paths = work.files.paths(), then.paths()
    there, before = working_names(now_paths), working_names(then_paths)
    released = released_versions(then_paths)

    def check_one(name: str) -> SubjectCheck:
        asked = work.mode_of(name)
        before_it = _mode_then(then, name) if name in before or name in released else asked
        held = mode or stricter(asked, before_it)
        if name not in there:
            found = gone(name, held, then.label, work.files.shown(working_path(name)))
            _name_heir(found, name, work, then, [other for other in there if other not in before])
        else:
            numbers = released.get(name, []) if held.endswith(_ALL) else []
            old = [
                Version(f"version {n}", load_schema(then, released_path(name, n), work.fetch).document) for n in numbers
            ]
            if name in before:
                old.append(Version(then.label, load_schema(then, working_path(name), work.fetch).document))
            found = _checked(work.schema(name), name, old, held, work.budget)
        for number in released.get(name, []):
            _keep_released(found, work.files, then, released_path(name, number), now_paths)
        if mode is None and asked is not before_it:
            _note(found, f"the mode was {before_it} in {then.label} and is {asked} now: it is held to {held}")
        return found

    return work.each(check_one)


def _mode_then(then: SchemaFiles, name: str) -> Mode:
    """The mode of a revision; what is none counts as if it were not there."""
    try:
        text = then.read(mode_path(name)).decode(errors="replace").strip()
    except NotFound:
        return DEFAULT_MODE
    return Mode(text) if text in list(Mode) else DEFAULT_MODE


def stricter(one: Mode, other: Mode) -> Mode:
    """What keeps to both."""
    ways = {mode.removesuffix(_ALL) for mode in (one, other)} - {Mode.NONE}
    way = ways.pop() if len(ways) == 1 else Mode.FULL if ways else Mode.NONE
    return Mode(f"{way}{_ALL}" if _ALL in f"{one}{other}" else way)


def _note(found: SubjectCheck, text: str) -> None:
    found.note = f"{found.note}; {text}" if found.note else text


def check_files(new: LoadedSchema, old: LoadedSchema, mode: Mode, budget: Budget) -> SubjectCheck:
    """Two files."""
    versions = [Version(old.shown, old.document)]
    found = compare(new.name, Version(new.shown, new.document), versions, mode, budget)
    _locate(found, new)
    return found


def _checked(schema: LoadedSchema, subject: str, old: Sequence[Version], mode: Mode, budget: Budget) -> SubjectCheck:
    found = compare(subject, Version(NEW, schema.document), old, mode, budget)
    _locate(found, schema)
    if not old:
        found.change = "added"
    return found


def _locate(found: SubjectCheck, schema: LoadedSchema) -> None:
    """Say in which files things are. Where it is an old version that refuses, the place is that of the new one."""
    found.path = schema.shown
    located: list[SchemaViolation | SchemaDoubt] = [*found.violations, *found.undecided]
    for one in located:
        if (origin := schema.origin(one.pointer)) is not None:
            one.file, one.file_pointer = origin


def gone(name: str, mode: Mode, before: str, path: str) -> SubjectCheck:
    """A schema that is not there any more: whoever reads by it is left without, unless its mode asks for nothing."""
    message = f"{path} is gone: what was written with it has no schema to be read by"
    lost = [] if mode is Mode.NONE else [SchemaViolation("", "", message, None, before, NEW)]
    return SubjectCheck(name, mode.value, not lost, lost, [], [before], path, "deleted")


def _name_heir(found: SubjectCheck, name: str, work: Work, then: SchemaFiles, added: Sequence[str]) -> None:
    """Where the same schema lies there under a name that is new, it was renamed."""
    document = load_schema(then, working_path(name), work.fetch).document
    for other in added:
        if same(document, work.schema(other).document):
            found.change = "renamed"
            found.note = f"the same schema is there as {other} now"
            for violation in found.violations:
                violation.message = f"{found.path} was renamed to {other}: who looks for {name} does not find it"
            return


def _keep_released(found: SubjectCheck, now: SchemaFiles, then: SchemaFiles, path: str, paths: Sequence[str]) -> None:
    """A released version that is another JSON now, or gone, breaks the subject whatever its mode. How lines end is
    git's affair: it may write them otherwise than it keeps them."""
    if path in paths and same_schema(*(side.read(path).decode(errors="replace") for side in (now, then))):
        return
    what = "was changed" if path in paths else "is gone"
    message = f"{now.shown(path)} {what} since {then.label.removeprefix('git:')}; a released version never changes"
    found.violations.append(SchemaViolation("", "", message, None, then.label, NEW))
    found.compatible = False
