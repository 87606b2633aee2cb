"""Schemas that people wrote, and their versions: how many pairs are decided, and in what time.

    python -m tests.compatibility.real folder DIR ...       each schema with changed copies of itself
    python -m tests.compatibility.real history REPOSITORY   the schemas of a git repository, each version with the next
    python -m tests.compatibility.real versions FILE ...    these files, each with the next

A schema counts where it says that it is of draft-07 and stands alone. Nothing is stored.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from soma_cli.core.compatibility import check, refused_schema
from soma_cli.core.errors import InputRejected
from tests.compatibility.loosenings import altered, related
from tests.compatibility.ours import unproven
from tests.compatibility.pair import NOTHING, Case
from tests.compatibility.rewritings import rewritten

_COPIES = 4
_DRAFT = b"draft-07/schema"
_LONGEST_FILE = 400_000


def of_folders(folders: list[str]) -> Iterator[Case]:
    """For each schema: two copies that say the same, one that is looser, one with any change."""
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.json")):
        schema = _schema(path.read_bytes())
        for number in range(_COPIES if schema is not None else 0):
            random = Random(f"{path.name}/{number}")
            made = [
                Case(f"{path.name} same {number}", schema, rewritten(random, schema), NOTHING),
                Case(f"{path.name} looser {number}", *related(random, schema), NOTHING),
                Case(f"{path.name} changed {number}", schema, altered(random, schema), None),
            ]
            yield from (case for case in made if _stands(case.writer) and _stands(case.reader))


def of_history(repository: str) -> Iterator[Case]:
    """Each version of a schema with the next, both ways."""
    for path in _git(repository, "ls-tree", "-r", "--name-only", "HEAD").decode().splitlines():
        if path.endswith(".json") and "schema" in path:
            commits = _git(repository, "log", "--format=%h", "--", path).decode().split()[::-1]
            texts = [_git(repository, "show", f"{commit}:{path}") for commit in commits[-12:]]
            yield from of_versions(path, [schema for text in texts if (schema := _schema(text)) is not None])


def of_versions(name: str, versions: list[Any]) -> Iterator[Case]:
    for number, (old, new) in enumerate(itertools.pairwise(versions)):
        if old != new:
            yield Case(f"{name} {number} >", old, new, None)
            yield Case(f"{name} {number} <", new, old, None)


def _git(repository: str, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True)
    return done.stdout if done.returncode == 0 else b""


def _schema(text: bytes) -> Any:
    """The schema, or None where it is none of ours."""
    if _DRAFT not in text[:2000] or len(text) > _LONGEST_FILE:
        return None
    try:
        schema = json.loads(text)
        refused_schema(schema)
    except (ValueError, InputRejected):
        return None
    return schema


def _stands(schema: Any) -> bool:
    """Not so where a change took away what a reference leads to."""
    try:
        refused_schema(schema)
    except InputRejected:
        return False
    return True


def measured(cases: Iterator[Case]) -> None:
    """Print what stays open as it comes, and the whole at the end."""
    verdicts: Counter[str] = Counter()
    seconds: list[float] = []
    for case in cases:
        start = time.process_time()
        verdict = check(case.writer, case.reader)
        seconds.append(time.process_time() - start)
        verdicts[str(verdict.compatible)] += 1
        assert not unproven(case, verdict), case.name
        assert case.witness is None or verdict.compatible is not False, case.name
        if verdict.compatible is None or seconds[-1] > 1:
            print(f"{case.name}: {verdict.compatible} after {seconds[-1]:.2f} s of processor; {verdict.undecided}")
    seconds.sort()
    at = {share: seconds[min(len(seconds) - 1, int(len(seconds) * share))] for share in (0.5, 0.95, 1)}
    print(f"{dict(verdicts)} p50 {at[0.5]:.4f} s, p95 {at[0.95]:.4f} s, max {at[1]:.2f} s of processor")


def main() -> None:
    what, *names = sys.argv[1:]
    if what == "folder":
        measured(of_folders(names))
    elif what == "history":
        measured(case for name in names for case in of_history(name))
    else:
        measured(of_versions(names[0], [json.loads(Path(name).read_bytes()) for name in names]))


if __name__ == "__main__":
    main()
