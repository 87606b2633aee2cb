"""How the result of a check is shown: to people, and as annotations of GitHub Actions."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soma_cli.output import drawable, hanging, json_text, printable, visible

if TYPE_CHECKING:
    from soma_cli.core.errors import SomaError
    from soma_cli.core.schema_results import SchemaCheck, SchemaDoubt, SchemaViolation, SubjectCheck

_MARKS = {True: ("✓", "ok", "32"), False: ("✗", "x", "31"), None: ("?", "?", "33")}
"""By the answer: the mark, what stands for it where there are no such characters, and its colour."""
_FILES = 5
_MESSAGE = 300
_WITNESS = 1500
"""Characters of a message, and of a document, that are shown; the whole is in JSON."""


def show(report: SchemaCheck) -> None:
    for subject in report.subjects:
        show_subject(subject)
    for refused in report.refused:
        hanging(f"{_mark(False)} {printable(refused.name)}  ", _sentence(refused.message))
        if refused.hint:
            hanging("    ", refused.hint)
    counts = Counter(_answer(subject) for subject in report.subjects)
    if report.refused:
        counts["not compared"] = len(report.refused)
    found = ", ".join(f"{count} {answer}" for answer, count in counts.items())
    if report.folder:
        number = len(report.subjects) + len(report.refused)
        shipped = " (which ships with soma)" if report.folder_origin == "shipped" else ""
        where = f"{number} schema{'s' * (number != 1)} in {visible(report.folder)}{shipped}"
        sys.stdout.write(f"{where}, against {_named(report.against)}: {found}\n")


def remarks(report: SchemaCheck) -> Iterator[str]:
    """What was not looked at, and not compared."""
    if not (report.compared or report.missing or report.refused):  # these are errors of their own
        yield _nothing(report)
    if report.ignored:
        yield left_out(report.ignored)


def _nothing(report: SchemaCheck) -> str:
    if report.against == "log":
        return "nothing was compared: the log is empty"
    if report.against == "released":
        return f"nothing was compared: no version is released in {report.folder}; see --against registry, or git:REV"
    return f"nothing was compared: none of these schemas is in {_named(report.against)}"


def left_out(files: Sequence[str]) -> str:
    more = f" and {len(files) - _FILES} more" if len(files) > _FILES else ""
    return f"not looked at, as no schema by its name or place: {', '.join(files[:_FILES])}{more}"


def show_subject(subject: SubjectCheck) -> None:
    """The verdict on one line, then each violation with its place, a sentence and a witness."""
    hanging(f"{_mark(subject.compatible)} {printable(subject.subject)}  {subject.mode}  ", sentence(subject))
    if subject.note and subject.change != "renamed":
        hanging("    ", subject.note)
    for violation in subject.violations:
        _show_violation(violation)
    for doubt in subject.undecided:
        hanging(f"    {_place(doubt)}  ", f"{doubt.message} ({doubt.writer} -> {doubt.reader})")


def sentence(subject: SubjectCheck) -> str:
    """What was found of a schema, in words."""
    if subject.events is not None and not subject.refused:
        return f"{subject.path} accepts all {_events(subject.events)} in the log"
    if subject.events is not None:
        return f"{subject.refused:,} of {subject.events:,} events in the log are refused by {subject.path}"
    others = _listed(subject.against)
    if subject.change == "added" and subject.compatible:
        return "new: there is nothing yet to compare it with"
    if subject.mode == "NONE" and subject.compatible:
        return f"{subject.change}; nothing is asked of it"
    if subject.compatible is False:
        return f"breaks {others}" + (f"; {subject.note}" if subject.change == "renamed" else "")
    if subject.compatible is None:
        return f"undecided: neither proved nor broken against {others}"
    return f"the same as {others}" if subject.change == "same" else f"compatible with {others}"


def _answer(subject: SubjectCheck) -> str:
    if subject.change == "added":
        return "new"
    return {True: "compatible", False: "incompatible", None: "undecided"}[subject.compatible]


def _named(against: str) -> str:
    words = {"released": "the versions released there", "registry": "the registry"}
    return words.get(against, visible(against.removeprefix("git:")))


def _listed(names: list[str]) -> str:
    shown = [visible(name.removeprefix("git:")) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "nothing"


def _mark(answer: bool | None) -> str:
    mark, plain, colour = _MARKS[answer]
    try:
        mark.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        mark = plain
    return f"\x1b[{colour}m{mark}\x1b[0m" if drawable(sys.stdout) else mark


def _show_violation(violation: SchemaViolation) -> None:
    if (
        not violation.keyword and violation.witness is None and not violation.positions
    ):  # of files, not of what is in them
        hanging("    ", _sentence(violation.message))
        return
    hanging(f"    {_place(violation)}  ", _sentence(violation.message))
    if violation.positions:
        hanging("      ", f"{_events(violation.count or 0)}, first at {', '.join(violation.positions)}")
    if not violation.positions:
        show_witness(f"{violation.writer} accepts, {violation.reader} refuses", violation.witness)
    elif violation.witness is not None:
        show_witness("the first", violation.witness)


def show_witness(label: str, document: Any) -> None:
    """On one line, for whoever searches it; on a terminal below its label, wrapped to the width."""
    if not sys.stdout.isatty():
        hanging(f"      {label}: ", shortened(document))
        return
    hanging("      ", f"{label}:")
    text = json.dumps(document, ensure_ascii=False)
    indent = " " * 8
    width = max(40, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(
        _cut(visible(text)), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _sentence(message: str) -> str:
    """A validator's message quotes the value, however long; the witness below has it."""
    return message if len(message) <= _MESSAGE else f"{message[: _MESSAGE // 2]}…{message[-_MESSAGE // 2 :]}"


def _events(count: int) -> str:
    return f"{count:,} event{'s' * (count != 1)}"


def _place(one: SchemaViolation | SchemaDoubt) -> str:
    """Where in the schema of the reader."""
    if one.file is not None:
        return f"{printable(one.file)}#{printable(one.file_pointer or '')}"
    return printable(one.pointer) or f"the whole of {printable(one.reader)}"


def shortened(document: Any) -> str:
    """A witness on one line."""
    return _cut(visible(json_text(document)))


def _cut(text: str) -> str:
    return text if len(text) <= _WITNESS else f"{text[:_WITNESS]}… ({len(text):,} characters, whole with -o json)"


# --- annotations ---


def workflow_commands(report: SchemaCheck, *, undecided_is_error: bool) -> Iterator[str]:
    """Workflow commands of GitHub Actions: one for each violation, place that stopped the checker, and note."""
    for subject in report.subjects:
        for violation in subject.violations:
            text = "\n".join([_sentence(violation.message), *_evidence(violation)])
            yield annotation("error", text, subject, violation)
        for doubt in subject.undecided:
            level = "error" if undecided_is_error else "warning"
            yield annotation(level, f"undecided: {doubt.message}", subject, doubt)
        if subject.note and subject.change != "renamed":
            yield annotation("warning", subject.note, subject)
    for refused in report.refused:
        yield _at_its_file(refused.message, refused.pointer)


def _evidence(violation: SchemaViolation) -> Iterator[str]:
    if violation.positions:
        yield f"{_events(violation.count or 0)}, first at {', '.join(violation.positions)}"
    elif violation.keyword:
        yield f"{violation.writer} accepts, {violation.reader} refuses: {shortened(violation.witness)}"


def failure(error: SomaError) -> str:
    """What ended the check."""
    return _at_its_file(error.message, error.details.get("pointer"))


def _at_its_file(message: str, pointer: str | None) -> str:
    """An error at the file that its message begins with."""
    path, separator, _ = message.partition(": ")
    if not separator or not Path(path).is_file():
        return annotation("error", message)
    line = re.search(r" line (\d+)", message)
    where = line[1] if line else str(_line_or_first(path, pointer or ""))
    return f"::error file={_property(_from_workspace(path))},line={where}::{_data(message)}"


def _line_or_first(path: str, pointer: str) -> int:
    try:
        return _line(path, pointer)
    except (ValueError, IndexError):
        return 1  # it is no JSON


def annotation(
    level: str, text: str, subject: SubjectCheck | None = None, place: SchemaViolation | SchemaDoubt | None = None
) -> str:
    properties = {}
    if subject is not None:
        properties["title"] = f"{subject.subject} {sentence(subject)}"
        path, pointer = (subject.path, place.pointer if place else "")
        if place is not None and place.file is not None:
            path, pointer = place.file, place.file_pointer or ""
        if path is not None and Path(path).is_file():
            properties = {"file": _from_workspace(path), "line": str(_line(path, pointer)), **properties}
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level}{listed and f' {listed}'}::{_data(text)}"


def _from_workspace(path: str) -> str:
    """As GitHub names files: from the top of the checkout."""
    top = os.environ.get("GITHUB_WORKSPACE")
    return os.path.relpath(Path(path).resolve(), Path(top).resolve()) if top else path


def _line(path: str, pointer: str) -> int:
    from soma_cli.core.operations.schema_lines import line_of

    return line_of(Path(path).read_text(encoding="utf-8"), pointer)


def _data(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
