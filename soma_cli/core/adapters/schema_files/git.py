"""Schema files of a folder as they were in a revision of the git repository that it lies in."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from soma_cli.core.adapters.schema_files.folder import too_large
from soma_cli.core.errors import ConfigurationError, InputRejected, NotFound, UsageError
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES

_HEAD = "HEAD"
_LINK = "120000"
_VERSIONS = re.compile(r"versions(/[^/]+)?")
"""The folders that released versions lie in."""
_LOCAL = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
)
"""What git tells its hooks of the repository that they run in: the folder may lie in another."""


class RevisionFiles:
    """`SchemaFiles` of a revision. `REV...` means where the work in hand left REV: their merge base.

    Raises UsageError where the folder lies in no repository, or the revision is not there. HEAD of a repository
    without a commit has no files.
    """

    def __init__(self, folder: Path, revision: str) -> None:
        self._shown_folder, self._revision = folder, revision
        self._folder = folder.resolve()
        self._prefix = self._ask("rev-parse", "--show-prefix").strip().rstrip("/")
        self._commit = self._resolved(revision)
        self._listed: list[str] | None = None

    @property
    def label(self) -> str:
        return f"git:{self._revision}"

    def paths(self) -> list[str]:
        if self._listed is None:
            self._listed = sorted(path for path in self._tree() if path.endswith(".json"))
        return self._listed

    def read(self, path: str) -> bytes:
        shown = self.shown(path)
        blob, size = self._found(posixpath.normpath(posixpath.join(self._prefix, path)), shown)
        if size > MAX_SCHEMA_BYTES:
            raise too_large(shown)
        return self._run("cat-file", "blob", blob)

    def shown(self, path: str) -> str:
        return f"{self._revision}:{posixpath.normpath(posixpath.join(self._prefix, path))}"

    def _tree(self) -> Iterator[str]:
        """The files of the folder, in a revision. Only trees are read: a partial clone has no more."""
        if self._commit is None:
            return
        below = f"{self._prefix}/" if self._prefix else ""
        options = ("ls-tree", "-r", "-z", "--full-tree", self._commit)
        for entry in filter(None, self._ask(*options, *([below] if below else [])).split("\0")):
            about, path = entry.split("\t", 1)
            mode, kind, _ = about.split()
            inside = path.removeprefix(below)
            if mode == _LINK and _VERSIONS.fullmatch(inside):
                raise _link(self.shown(inside), "is a symbolic link, and what is below it is not known")
            if kind == "blob":
                yield inside

    def _found(self, path: str, shown: str) -> tuple[str, int]:
        """Object and size of a file anywhere in the revision. Symbolic links are followed within it."""
        missing = NotFound(f"there is no file {shown}", hint="check the path", code="no_such_file")
        if self._commit is None or path.startswith("../") or "\n" in path:
            raise missing
        said = self._run("cat-file", "--batch-check", "--follow-symlinks", stdin=f"{self._commit}:{path}\n")
        first, *more = said.decode(errors="replace").splitlines()
        if first.startswith("symlink "):
            raise _link(shown, f"is, or lies below, a symbolic link that leads out of the repository, to {more[0]}")
        if first.startswith(("dangling ", "loop ", "notdir ")):
            raise _link(shown, "is, or lies below, a symbolic link that leads to no file")
        if first.endswith(" missing"):
            raise missing
        blob, kind, size = first.split()
        if kind != "blob":
            raise missing
        return blob, int(size)

    def _resolved(self, revision: str) -> str | None:
        """The commit; None for HEAD before the first one."""
        name, since = revision.removesuffix("..."), revision.endswith("...")
        try:
            commit = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except _GitRefused as refused:
            if name == _HEAD and not self._answers("rev-parse", "--verify", "--quiet", "--end-of-options", name):
                return None
            raise _unknown(name, str(self._shown_folder)) from refused
        if not since:
            return commit
        try:
            return self._ask("merge-base", commit, _HEAD).strip()
        except _GitRefused as refused:
            raise InputRejected(
                f"{name} and HEAD have no commit in common",
                hint="a shallow clone lacks their history: fetch it, or name the revision without `...`",
                code="no_merge_base",
            ) from refused

    def _answers(self, *arguments: str) -> bool:
        try:
            self._run(*arguments)
        except _GitRefused:
            return False
        return True

    def _ask(self, *arguments: str) -> str:
        return self._run(*arguments).decode(errors="surrogateescape")

    def _run(self, *arguments: str, stdin: str = "") -> bytes:
        command = ["git", "--no-optional-locks", "-C", str(self._folder), *arguments]
        try:
            done = subprocess.run(
                command, input=os.fsencode(stdin), capture_output=True, check=False, env=_environment()
            )
        except FileNotFoundError as error:
            raise ConfigurationError(
                "git is not installed", hint="install it, or compare two files", code="no_git"
            ) from error
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()
        if "not a git repository" in said:
            raise UsageError(
                f"{self._shown_folder} lies in no git repository",
                hint="run it in a clone, or give two files: soma schema check NEW.json --against OLD.json",
            )
        if "dubious ownership" in said:
            raise UsageError(
                f"git does not trust {self._shown_folder}: another user owns it", hint=said.splitlines()[-1].strip()
            )
        raise _GitRefused(said)


def _environment() -> dict[str, str]:
    """Answers in English, which are read here, and no questions on a terminal."""
    others = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    return {**others, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


class _GitRefused(ConfigurationError):
    """git answered with an error of its own, which is the message."""

    default_code = "git"

    def __init__(self, said: str) -> None:
        super().__init__(f"git: {said}", hint="try the same with git itself")


def _link(shown: str, what: str) -> InputRejected:
    return InputRejected(
        f"{shown} {what}: it cannot be compared", hint="put the file itself into the repository", code="schema_link"
    )


def _unknown(name: str, folder: str) -> UsageError:
    return UsageError(
        f"git knows no revision {name!r} in the repository of {folder}",
        hint="name a branch, a tag or a commit; in a shallow clone git fetch origin BRANCH, and name git:FETCH_HEAD",
    )
