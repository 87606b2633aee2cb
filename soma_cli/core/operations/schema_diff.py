"""What changed between two versions of a schema, and which way each change breaks.

The changes are found by comparing JSON; what each does is not read off them, but asked of the checker: the old schema
with this one change is compared with the old schema, both ways.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from soma_cli.core.compatibility import Budget, Verdict, check, refused_schema
from soma_cli.core.errors import InputRejected
from soma_cli.core.operations.schema_check import Version, same
from soma_cli.core.operations.schema_places import LISTS, MAPS, ONE
from soma_cli.core.schema_results import SchemaChange, SchemaDiff
from soma_cli.core.serialization import json_pointer

_SCHEMA = frozenset({*ONE, "items"})
_LISTS = frozenset({*LISTS, "items"})
_SETS = frozenset({"enum", "required"})
_DEFINITIONS = ("$defs", "definitions")
_ABSENT = object()
_EACH = Budget(seconds=2.0)
"""For one change; there may be hundreds."""
_ALL_S = 20.0
"""Seconds of processor time for all changes one by one; those that are left then are named and not judged."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """`before` or `after` is _ABSENT where the value was added or removed. A `member` is one of the values of a set,
    whose own place says nothing."""

    path: tuple[str | int, ...]
    before: Any
    after: Any
    member: bool = False


def diff(
    old: Version, new: Version, progress: Callable[[int], None] = lambda changes: None, all_s: float = _ALL_S
) -> SchemaDiff:
    """Every change by its pointer; `backward` and `forward` are the verdicts on all of them together. `progress` is
    told how many more changes were looked at."""
    base = _with_definitions(old.document, new.document)
    end_s = time.process_time() + all_s
    changes = []
    for edit in _edits((), old.document, new.document):
        changes.append(_change(edit))
        if time.process_time() < end_s:
            _judge(changes[-1], base, edit)
        else:
            changes[-1].note = "not checked alone: the changes before it took all the time there is"
        progress(1)
    backward, forward = check(old.document, new.document), check(new.document, old.document)
    return SchemaDiff(old.label, new.label, changes, backward.compatible, forward.compatible)


def _edits(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[_Edit]:
    """The changes from one schema to another, as far down as they are schemas."""
    if same(old, new):
        return
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield _Edit(path, old, new)
        return
    for keyword in [*old, *(key for key in new if key not in old)]:
        yield from _keyword((*path, keyword), keyword, old.get(keyword, _ABSENT), new.get(keyword, _ABSENT))


def _keyword(path: tuple[str | int, ...], keyword: str, old: Any, new: Any) -> Iterator[_Edit]:
    if old is _ABSENT or new is _ABSENT:
        yield from _whole(path, keyword, old, new)
    elif same(old, new):
        return
    elif keyword in MAPS and isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(key for key in new if key not in old)]:
            yield from _member((*path, name), old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif keyword in _LISTS and isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _edits((*path, index), *pair)
    elif keyword in _SETS and isinstance(old, list) and isinstance(new, list):
        yield from (_Edit(path, value, _ABSENT, True) for value in old if not _among(value, new))
        yield from (_Edit(path, _ABSENT, value, True) for value in new if not _among(value, old))
    elif keyword in _SCHEMA:
        yield from _edits(path, old, new)
    else:
        yield _Edit(path, old, new)


def _whole(path: tuple[str | int, ...], keyword: str, old: Any, new: Any) -> Iterator[_Edit]:
    """A keyword that came or went: the members of a map one by one, as each says something."""
    there = new if old is _ABSENT else old
    if keyword in MAPS and isinstance(there, dict):
        for name, value in there.items():
            yield _Edit((*path, name), *((_ABSENT, value) if old is _ABSENT else (value, _ABSENT)))
    else:
        yield _Edit(path, old, new)


def _member(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[_Edit]:
    if old is _ABSENT or new is _ABSENT:
        yield _Edit(path, old, new)
    else:
        yield from _edits(path, old, new)


def _among(value: Any, values: list[Any]) -> bool:
    return any(same(value, other) for other in values)


def _change(edit: _Edit) -> SchemaChange:
    kind = "added" if edit.before is _ABSENT else "removed" if edit.after is _ABSENT else "changed"
    before, after = (None if value is _ABSENT else value for value in (edit.before, edit.after))
    return SchemaChange(json_pointer(edit.path), kind, before, after)


def _judge(change: SchemaChange, base: Any, edit: _Edit) -> None:
    changed = _applied(base, edit)
    try:
        refused_schema(changed)
    except InputRejected as error:
        change.note = f"alone this is no schema: {error.message}"
    else:
        _answer(change, check(base, changed, _EACH), check(changed, base, _EACH))


def _answer(change: SchemaChange, backward: Verdict, forward: Verdict) -> None:
    change.backward, change.forward = backward.compatible, forward.compatible
    for verdict, name in ((backward, "backward"), (forward, "forward")):
        if verdict.violations:
            change.witnesses[name] = verdict.violations[0].witness
        elif verdict.undecided:
            change.note = change.note or verdict.undecided[0].message


def _applied(base: Any, edit: _Edit) -> Any:
    """The schema with one change. Definitions stay, as others may still refer to them."""
    if not edit.path:
        return edit.after
    changed = copy.deepcopy(base)
    holder = changed
    *way, last = edit.path
    for token in way:
        if isinstance(holder, dict) and token not in holder:
            holder[token] = {}
        holder = holder[token]
    if edit.member:
        _change_set(holder, last, edit)
    elif edit.after is not _ABSENT:
        holder[last] = copy.deepcopy(edit.after)
    elif not (len(way) == 1 and way[0] in _DEFINITIONS):
        del holder[last]
    return changed


def _change_set(holder: Any, keyword: str | int, edit: _Edit) -> None:
    if edit.after is not _ABSENT:
        holder[keyword] = [*holder[keyword], edit.after]
    else:
        holder[keyword] = [value for value in holder[keyword] if not same(value, edit.before)]


def _with_definitions(old: Any, new: Any) -> Any:
    """The old schema with the definitions that only the new one has: nothing refers to them yet."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old
    base = dict(old)
    for keyword in _DEFINITIONS:
        if isinstance(new.get(keyword), dict) and isinstance(base.get(keyword, {}), dict):
            base[keyword] = {**new[keyword], **base.get(keyword, {})}
    return base
